"""Audit events that go to a server outside."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_fixture import Authority, RunningApi

from actors.seams import system_seams
from cluster.apiserver.audit.backends import Backends
from cluster.apiserver.audit.webhook import AuditWebhook


class Collector:
    """Takes EventLists, but for the first `refused` ones."""

    def __init__(self, folder: Path) -> None:
        self.lists: list[dict[str, Any]] = []
        self.refused = 0
        authority = Authority(folder)
        tls = authority.issue("collector", server=True)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                code = 500 if outer.refused else 200
                outer.refused -= outer.refused > 0
                if code == 200:
                    outer.lists.append(body)
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Tests print nothing."""

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls["cert"], tls["key"])
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        cluster = {
            "server": f"https://127.0.0.1:{self.server.server_port}/audit",
            "certificate-authority": authority.ca,
        }
        self.kubeconfig = str(folder / "kubeconfig")
        Path(self.kubeconfig).write_text(yaml.safe_dump({
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }))  # fmt: skip

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for each in self.lists for event in each["items"]]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    folder = tmp_path / "collector"
    folder.mkdir()
    found = Collector(folder)
    yield found
    found.close()


def until(found: Any) -> None:
    ends_s = time.monotonic() + 15
    while not found():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


MAPS = "/api/v1/namespaces/default/configmaps"


def audited(
    collector: Collector, folder: Path, omitted: Sequence[str] = (), **webhook: Any
) -> RunningApi:
    """An API server that tells the collector of requests for configmaps."""
    rule = {
        "level": "Metadata",
        "omitStages": list(omitted),
        "resources": [{"group": "", "resources": ["configmaps"]}],
    }
    policy = folder / "policy.yaml"
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]}
    policy.write_text(yaml.safe_dump(document))
    webhook |= {"kubeconfig": collector.kubeconfig, "initial_backoff_s": 0.01}
    return RunningApi(folder, audit={"policy": str(policy), "webhook": webhook})


def test_events_are_sent_in_batches_and_again_if_they_are_refused(
    collector: Collector, tmp_path: Path
) -> None:
    collector.refused = 2
    api = audited(collector, tmp_path, ["RequestReceived"], batch_max_size=5, batch_max_wait_s=0.1)
    try:
        for number in range(12):
            api.raw("GET", f"/api/v1/namespaces/default/configmaps/c{number}")
        wanted = {f"/api/v1/namespaces/default/configmaps/c{number}" for number in range(12)}
        until(lambda: wanted <= {event["requestURI"] for event in collector.events})
        assert all(len(each["items"]) <= 5 for each in collector.lists)
        assert collector.lists[0]["kind"] == "EventList"
        assert collector.lists[0]["apiVersion"] == "audit.k8s.io/v1"
        api.raw("GET", "/api/v1/namespaces/default/configmaps/last")
    finally:
        api.close()
    assert collector.events[-1]["requestURI"].endswith("/last")  # what waited went out at the end


def test_what_comes_when_too_much_waits_is_dropped_and_counted(collector: Collector) -> None:
    webhook = AuditWebhook(system_seams(), {"kubeconfig": collector.kubeconfig, "buffer_size": 3})
    for number in range(5):
        webhook.put({"number": number})
    assert webhook.dropped == 2


def test_a_mode_that_there_is_not_is_refused(collector: Collector) -> None:
    with pytest.raises(ValueError, match="mode must be batch, blocking or blocking-strict"):
        Backends(system_seams(), {"webhook": {"kubeconfig": collector.kubeconfig, "mode": "soon"}})


@pytest.mark.parametrize("mode", ["blocking", "blocking-strict"])
def test_a_request_is_answered_when_its_events_have_been_taken(
    collector: Collector, tmp_path: Path, mode: str
) -> None:
    api = audited(collector, tmp_path, mode=mode)
    try:
        collector.refused = 1
        for number in range(3):
            assert api.raw("GET", f"{MAPS}/c{number}")[0] == 404
            mine = [e for e in collector.events if e["requestURI"] == f"{MAPS}/c{number}"]
            assert [e["stage"] for e in mine] == ["RequestReceived", "ResponseComplete"]
    finally:
        api.close()
    assert all(len(each["items"]) == 1 for each in collector.lists)


@pytest.mark.parametrize(("mode", "answer"), [("blocking", 404), ("blocking-strict", 500)])
def test_only_the_strict_mode_refuses_what_it_cannot_note(
    collector: Collector, tmp_path: Path, mode: str, answer: int
) -> None:
    api = audited(collector, tmp_path, mode=mode)
    try:
        collector.refused = 10**6
        assert api.raw("GET", f"{MAPS}/unnoted")[0] == answer
        collector.refused = 0
        assert api.raw("GET", f"{MAPS}/noted")[0] == 404
    finally:
        collector.refused = 0
        api.close()
