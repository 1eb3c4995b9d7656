"""How a server begins and ends beside others: nobody is told wrong things, nothing is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fixture import KUBECTL, RunningApi

from cluster.apiserver import app
from cluster.apiserver.handlers import watching
from raftstore.testing import MemoryStore

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    running = RunningApi(tmp_path)
    yield running
    running.close()


@contextlib.contextmanager
def connected(api: RunningApi) -> Iterator[http.client.HTTPSConnection]:
    link = http.client.HTTPSConnection("127.0.0.1", api.port, context=api._tls(api.admin))
    link.connect()
    with contextlib.closing(link):
        yield link


def ask(link: http.client.HTTPSConnection, path: str, method: str = "GET") -> Any:
    link.request(method, path)
    answer = link.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def in_background(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_connection_in_use_is_told_that_its_answer_is_the_last(api: RunningApi) -> None:
    with connected(api) as link:
        assert "connection" not in ask(link, MAPS)[1]
        stopping = in_background(api.stop)
        while not api.server._draining.is_set():
            time.sleep(0.001)
        time.sleep(0.2)
        status, headers, _ = ask(link, MAPS)
        assert (status, headers["connection"]) == (200, "close")
        stopping.join()
    api.start()


def test_an_idle_connection_is_told_that_nothing_was_carried_out(api: RunningApi) -> None:
    with connected(api) as link:
        ask(link, MAPS)
        in_background(api.stop).join()
        assert link.sock is not None
        link.sock.settimeout(5)
        told = link.sock.recv(1000)
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in told
        assert link.sock.recv(1000) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", api.port))
    api.start()


def test_watches_end_in_order_and_in_turn(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "DRAINED_WITHIN_S", 0.5)
    ends: list[float] = []
    bodies: list[bytes] = []

    def watch() -> None:
        with connected(api) as link:
            bodies.append(ask(link, f"{MAPS}?watch=1&resourceVersion=0")[2])  # a whole answer
            ends.append(time.monotonic())

    watches = [in_background(watch) for _ in range(8)]
    while api.server._context.metrics.watchers < 8:
        time.sleep(0.01)
    api.json("POST", MAPS, {"metadata": {"name": "last"}})
    api.stop()
    for thread in watches:
        thread.join()
    assert all(json.loads(body.splitlines()[-1])["type"] == "ADDED" for body in bodies)
    assert max(ends) - min(ends) > 0.05
    api.start()


def test_readiness_fails_first(api: RunningApi) -> None:
    with connected(api) as link:
        stopping = in_background(api.stop)
        while not api.server._draining.is_set():
            time.sleep(0.001)
        status, _, body = ask(link, "/readyz?verbose")
        assert status == 500
        assert b"[-]shutdown failed" in body
        stopping.join()
    api.start()


def test_a_server_goes_on_for_a_while_after_it_has_said_that_it_ends(tmp_path: Path) -> None:
    """So that those who send clients to it have time to stop doing so."""
    api = RunningApi(tmp_path, shutdown_delay_s=1.0)
    stopping = in_background(api.stop)
    while not api.server._leaving:
        time.sleep(0.001)
    assert api.raw("GET", "/readyz")[0] == 500
    status = api.raw("GET", MAPS)[0]  # on a new connection
    assert status == 200
    endpoints = "/api/v1/namespaces/default/endpoints/kubernetes"
    while api.json("GET", endpoints)[1].get("subsets"):
        time.sleep(0.01)
    stopping.join()
    api.start()
    api.close()


class SlowStore(MemoryStore):
    """Its first big read waits until `let_go`."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    async def range(self, *args: Any, **options: Any) -> Any:
        if options.get("limit"):
            await self.let_go.wait()
        return await super().range(*args, **options)


def test_a_server_that_knows_nothing_yet_says_so(tmp_path: Path) -> None:
    """Without roles and definitions it would refuse what is allowed, and deny what exists."""
    api = RunningApi(tmp_path)
    api.json("POST", MAPS, {"metadata": {"name": "there"}})
    api.stop()
    slow = SlowStore()
    slow.__dict__.update({k: v for k, v in api.store.__dict__.items() if k != "let_go"})
    api.store = slow
    starting = in_background(api.start)
    while True:
        with contextlib.suppress(OSError):
            if api.raw("GET", "/livez")[0] == 200:
                break
        time.sleep(0.01)
    for path in (MAPS, "/api", "/apis", "/openapi/v2", f"{MAPS}?watch=1"):
        status, headers, body = api.raw("GET", path)
        assert (status, headers["retry-after"]) == (503, "1"), path
        assert json.loads(body)["message"] == app._starting().message
    assert api.raw("GET", "/readyz")[0] == 500
    if KUBECTL is not None:  # it comes again by itself
        asked = subprocess.Popen(api.command("get", "configmap", "there"), stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            asked.wait(1)
    api._loop.call_soon_threadsafe(slow.let_go.set)
    starting.join()
    assert api.json("GET", f"{MAPS}/there")[0] == 200
    if KUBECTL is not None:
        assert b"there" in asked.communicate(timeout=30)[0]
        assert asked.returncode == 0
    api.close()


def test_watches_go_on_at_a_server_that_has_just_begun(api: RunningApi) -> None:
    before = api.json("POST", MAPS, {"metadata": {"name": "a"}})[1]
    for name in ("b", "c"):
        api.json("POST", MAPS, {"metadata": {"name": name}})
    api.json("DELETE", f"{MAPS}/b")
    api.stop()
    api.start()
    version = before["metadata"]["resourceVersion"]
    status, _, body = api.raw("GET", f"{MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=1")
    events = [json.loads(line) for line in body.splitlines()]
    seen = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert (status, seen) == (200, [("ADDED", "b"), ("ADDED", "c"), ("DELETED", "b")])


def test_after_compaction_a_new_server_begins_where_the_store_does(api: RunningApi) -> None:
    first = api.json("POST", MAPS, {"metadata": {"name": "a"}})[1]["metadata"]["resourceVersion"]
    second = api.json("POST", MAPS, {"metadata": {"name": "b"}})[1]["metadata"]["resourceVersion"]
    api.call(api.store.compact(int(second)))
    api.stop()
    api.start()
    gone = api.json("GET", f"{MAPS}?watch=1&resourceVersion={first}")[1]
    assert (gone["type"], gone["object"]["code"]) == ("ERROR", 410)
    api.json("POST", MAPS, {"metadata": {"name": "c"}})
    query = f"watch=1&resourceVersion={second}&timeoutSeconds=1"
    _, _, body = api.raw("GET", f"{MAPS}?{query}")
    names = [json.loads(line)["object"]["metadata"]["name"] for line in body.splitlines()]
    assert names == ["c"]
