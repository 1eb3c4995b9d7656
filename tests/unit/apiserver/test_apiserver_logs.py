"""`pods/NAME/log` against a small kubelet that speaks TLS and streams."""

from __future__ import annotations

import http.client
import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import RunningApi

from actors.tls import server_context

PODS = "/api/v1/namespaces/default/pods"


class Kubelet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012
    users: list[Any] = []  # noqa: RUF012
    more = threading.Event()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        assert isinstance(self.connection, ssl.SSLSocket)
        self.users.append(self.connection.getpeercert())
        self.send_response(404 if "gone" in self.path else 200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b"first\n")
        if "follow" in self.path:
            self.more.wait(10)
            self._chunk(b"second\n")
        if "broken" in self.path:
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    running = RunningApi(tmp_path_factory.mktemp("logs"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
    files = running.authority.issue("node", server=True)
    server.socket = server_context(files).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _make_pods(running, server.server_address[1])
    yield running
    server.shutdown()
    server.server_close()
    running.close()


def _make_pods(api: RunningApi, port: int) -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n1"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    }
    assert api.json("POST", "/api/v1/nodes", node)[0] == 201
    for name, containers in (("one", ["c"]), ("gone", ["c"]), ("broken", ["c"]), ("two", "cd")):
        spec = {
            "nodeName": "n1",
            "containers": [{"name": c, "image": "i"} for c in containers],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        assert api.json("POST", PODS, pod)[0] == 201


def test_logs_come_from_the_kubelet_with_the_options_given(api: RunningApi) -> None:
    said = api.kubectl("logs", "one", "--tail=3", "--timestamps", "--limit-bytes=100")
    assert said == "first\n"
    path, _, query = Kubelet.asked[-1].partition("?")
    assert path == "/containerLogs/default/one/c"
    assert set(query.split("&")) == {"tailLines=3", "timestamps=true", "limitBytes=100"}
    assert ("commonName", "kubelet-client") in [pair for [pair] in Kubelet.users[-1]["subject"]]


def test_followed_logs_arrive_as_they_are_written(api: RunningApi) -> None:
    with subprocess.Popen(api.command("logs", "-f", "one"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        Kubelet.more.set()
        assert process.stdout.readline() == b"second\n"
        assert process.stdout.read() == b""


def test_the_container_must_be_clear_and_known(api: RunningApi) -> None:
    status, answer = api.json("GET", f"{PODS}/two/log")
    assert status == 400
    assert (
        "a container name must be specified for pod two, choose one of: [c d]" in answer["message"]
    )
    assert api.raw("GET", f"{PODS}/two/log?container=d")[2] == b"first\n"
    assert api.json("GET", f"{PODS}/two/log?container=x")[0] == 400


def test_the_kubelets_refusal_is_passed_on(api: RunningApi) -> None:
    status, _, answer = api.raw("GET", f"{PODS}/gone/log")
    assert (status, json.loads(answer)["message"]) == (404, "first")


def test_logs_that_break_off_do_not_look_complete(api: RunningApi) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        api.raw("GET", f"{PODS}/broken/log")
