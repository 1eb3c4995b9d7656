"""Requests made up from our own OpenAPI documents: never a 500, and answers that fit the schema."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, seed, settings

schemathesis = pytest.importorskip("schemathesis")

from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import response_schema_conformance  # noqa: E402

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)

SECONDS = float(os.environ.get("RAYKUBE_FUZZ_SECONDS", "25"))
SEED = int(os.environ.get("RAYKUBE_FUZZ_SEED", "1"))
EXAMPLES = 4
"""Of each operation, each time that it is its turn."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = api_fixture.RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


class Operations:
    """What the documents of the groups describe; a document is read when its turn comes."""

    def __init__(self, api: Any) -> None:
        self._api, self._found = api, {}
        self._random = random.Random(SEED)
        self.roots = sorted(api.json("GET", "/openapi/v3")[1]["paths"])

    def pick(self) -> Any:
        root = self._random.choice(self.roots)
        if root not in self._found:
            document = self._api.json("GET", f"/openapi/v3/{root}")[1]
            schema = schemathesis.openapi.from_dict(document)
            self._found[root] = [result.ok() for result in schema.get_all_operations()]
        return self._random.choice(self._found[root])


def test_no_request_is_answered_by_500_and_answers_fit_the_schema(api: Any) -> None:
    trust = {"verify": api.admin["ca"], "cert": (api.admin["cert"], api.admin["key"])}
    call = {"session": requests.Session(), "base_url": f"https://127.0.0.1:{api.port}", **trust}
    operations = Operations(api)
    assert len(operations.roots) > 20
    end_s, turns, codes, wrong = time.monotonic() + SECONDS, 0, {}, {}
    while time.monotonic() < end_s:
        operation = operations.pick()
        try:
            tried(operation, call, SEED * 100_000 + turns, codes)
        except (Exception, BaseExceptionGroup) as error:
            found = getattr(error, "exceptions", [error])
            wrong[f"{operation.method} {operation.path}"] = "\n".join(map(str, found))
        turns += 1
    print(f"RAYKUBE_FUZZ_SEED={SEED}: {turns} turns, answers: {dict(sorted(codes.items()))}")
    assert codes.get(200, 0) + codes.get(201, 0) > 0
    assert not wrong, "\n\n".join(f"{where}: {what}" for where, what in wrong.items())


def aimed(case: Any) -> None:
    """At the same few objects, so that requests meet what others have made."""
    case.headers, case.cookies = {}, {}
    if case.query:
        case.query.pop("watch", None)  # which would not end
        if case.method != "GET":
            case.query.pop("dryRun", None)
    for name, value in (("namespace", "default"), ("name", "x")):
        if name in (case.path_parameters or {}):
            case.path_parameters[name] = value
    if isinstance(case.body, dict) and case.method in ("POST", "PUT"):
        for name in ("apiVersion", "kind"):
            case.body.pop(name, None)
        metadata = case.body.get("metadata")
        if metadata is None or isinstance(metadata, dict):
            kept = {k: v for k, v in (metadata or {}).items() if k in ("labels", "annotations")}
            case.body["metadata"] = kept | {"name": "x"}


def tried(operation: Any, call: dict[str, Any], number: int, codes: dict[int, int]) -> None:
    """Some requests of one operation."""

    @seed(number)
    @settings(max_examples=EXAMPLES, database=None, derandomize=False)
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        aimed(case)
        try:
            response = case.call(**call, timeout=20)
        except requests.exceptions.InvalidURL:
            return
        codes[response.status_code] = codes.get(response.status_code, 0) + 1
        checks = [not_a_server_error]
        if case.method != "DELETE":  # the object while it is going, and then how it went
            checks.append(response_schema_conformance)
        case.validate_response(response, checks=checks)
        if response.status_code >= 400:
            assert json.loads(response.content)["kind"] == "Status"

    check()
