"""A kopf operator, unmodified, on a custom resource: created, changed, deleted."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)

pytestmark = [
    pytest.mark.skipif(api_fixture.KUBECTL is None, reason="kubectl is not on PATH"),
    pytest.mark.skipif(importlib.util.find_spec("kopf") is None, reason="kopf is not installed"),
]

OPERATOR = Path(__file__).parent / "operators/things.py"
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
             "schema": {"openAPIV3Schema": SCHEMA}}
        ],
    },
}  # fmt: skip


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Any]:
    running = api_fixture.RunningApi(tmp_path)
    yield running
    running.close()


def until(holds: Callable[[], bool], said: Path) -> None:
    """The operator is another process: all that can be done is to look."""
    end_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end_s, said.read_text()[-3000:]
        time.sleep(0.1)


def thing(size: int) -> str:
    return json.dumps({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"},
                       "spec": {"size": size}})  # fmt: skip


def test_an_operator_follows_its_objects_to_their_end(api: Any, tmp_path: Path) -> None:
    api.kubectl("apply", "-f", "-", stdin=json.dumps(DEFINITION))
    log = tmp_path / "operator.log"
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-A", str(OPERATOR)]
    with log.open("w") as out:
        operator = subprocess.Popen(
            command, env=os.environ | {"KUBECONFIG": api.kubeconfig}, stdout=out, stderr=out
        )
    try:
        api.kubectl("apply", "-f", "-", stdin=thing(1))
        until(lambda: "create" in api.get("thing", "a").get("status", {}), log)
        made = api.get("configmap", "a-made")
        assert made["data"] == {"size": "1"}
        assert made["metadata"]["ownerReferences"][0]["kind"] == "Thing"
        api.kubectl("apply", "-f", "-", stdin=thing(5))
        until(lambda: api.get("thing", "a")["status"].get("size") == 5, log)
        assert api.get("configmap", "a-made")["data"] == {"size": "5"}
        api.kubectl("delete", "thing", "a", "--timeout=20s")
        assert api.get("configmap", "a-goodbye")
        until(lambda: "a config map was made" in api.kubectl("get", "events"), log)
    finally:
        operator.terminate()
        operator.wait(20)
