"""What clients are told while the store is away, slow, or leaves a write's outcome open."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fixture import RunningApi

from raftstore.errors import Unavailable, UnknownOutcome
from raftstore.testing import MemoryStore

MAPS = "/api/v1/namespaces/default/configmaps"


class FailingStore(MemoryStore):
    """Raises `failure` instead of answering; `applies` writes before it says so."""

    failure: Exception | None = None
    applies = False

    async def range(self, *args: Any, **more: Any) -> Any:
        if isinstance(self.failure, Unavailable):
            raise self.failure
        return await super().range(*args, **more)

    async def txn(self, *args: Any, **more: Any) -> Any:
        if self.failure is None:
            return await super().txn(*args, **more)
        if self.applies:
            await super().txn(*args, **more)
        raise self.failure


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    running = RunningApi(tmp_path, FailingStore())
    yield running
    running.store.failure = None
    running.close()


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_without_a_store_requests_get_503_and_readiness_fails(api: RunningApi) -> None:
    api.json("POST", MAPS, config_map("before"))
    api.store.failure = Unavailable("no leader")
    body = json.dumps(config_map("x")).encode()
    for method, sent in (("GET", None), ("POST", body)):
        status, headers, answer = api.raw(method, MAPS, sent, {"Content-Type": "application/json"})
        assert (status, json.loads(answer)["reason"]) == (503, "ServiceUnavailable")
        assert headers["retry-after"] == "1"
    assert api.json("GET", f"{MAPS}?resourceVersion=0")[0] == 200
    until(lambda: api.raw("GET", "/readyz")[0] == 500)
    assert api.raw("GET", "/livez")[0] == 200
    assert b"[-]etcd failed: no leader" in api.raw("GET", "/readyz?verbose")[2]
    api.store.failure = None
    until(lambda: api.raw("GET", "/readyz")[0] == 200)
    assert api.json("GET", f"{MAPS}/before")[0] == 200


def test_a_write_of_unknown_outcome_is_a_timeout_and_never_a_failure(api: RunningApi) -> None:
    api.store.failure, api.store.applies = UnknownOutcome("connection lost"), True
    status, answer = api.json("POST", MAPS, config_map("maybe"))
    assert (status, answer["reason"]) == (504, "Timeout")
    api.store.failure = None
    assert api.json("GET", f"{MAPS}/maybe")[0] == 200  # it had happened


def until(holds: Any) -> None:
    deadline_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
