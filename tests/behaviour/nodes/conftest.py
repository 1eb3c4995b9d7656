"""One control plane for the suite, and a node over each runtime in turn."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from suite import rows, table
from suite.plane import Plane, api_fixture
from suite.runtimes import Node, started


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shows(shown): the rows of the table that the test shows")


def runtime_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("node", rows.API)) if callspec else rows.API


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the table says becomes what must come true: a row that fails as told must fail."""
    lines = []
    for item in items:
        mark = item.get_closest_marker("shows")
        if mark is None:
            continue
        shown, runtime = mark.args[0], runtime_of(item)
        test = item.nodeid.partition("[")[0].partition("tests/")[2]
        lines += [(row, test, runtime, shown.cell(runtime)) for row in shown.rows]
        if reason := shown.reason(runtime):
            item.add_marker(pytest.mark.skip(reason=reason))
        elif runtime in shown.gaps:
            item.add_marker(pytest.mark.xfail(strict=True, reason=shown.gaps[runtime]))
    if path := os.environ.get(table.COLLECTED):
        Path(path).write_text(json.dumps(lines))


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    if api_fixture.KUBECTL is None:
        pytest.skip("kubectl is not on PATH: scripts/test installs it")
    made = Plane(tmp_path_factory.mktemp("plane"))
    yield made
    made.close()


@pytest.fixture(scope="session", params=rows.RUNTIMES)
def node(plane: Plane, request: pytest.FixtureRequest) -> Iterator[Node]:
    with started(plane, request.param) as made:
        yield made


@pytest.fixture(scope="module")
def pods(node: Node, request: pytest.FixtureRequest) -> Any:
    """All pods of the module, made at once: `objects_of(node)`."""
    node.apply(*request.module.objects_of(node))
    yield node
    node.kubectl("delete", "pods", "--all", "--wait=false", "--grace-period=1")
