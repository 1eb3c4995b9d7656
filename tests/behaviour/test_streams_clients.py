"""Streams as other clients use them: the official Python client, raw WebSockets, proxies; who may;
large data, slow readers, and servers that go away."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import os
import resource
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvloop
import websocket
from kubernetes import client, config
from kubernetes.stream import portforward, stream
from node_cluster import Cluster, eventually, needs_kubectl, pod

pytestmark = needs_kubectl

PIPE = subprocess.PIPE
POD_IP = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
WEB = """
import base64, hashlib, http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            left = int(self.headers.get("content-length") or 0)
            while left:
                data = self.rfile.read(min(left, 65536))
                left -= len(data)
                yield data
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
    def answer(self, code, data, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
    def do_GET(self):
        if self.path.startswith("/redirect"):
            self.answer(302, b"", location="/there?x=1")
        elif self.path.startswith("/stream"):
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for number in range(int(self.path.rpartition("=")[2])):
                self.wfile.write(b"10000\\r\\n" + b"%c" % (65 + number % 26) * 65536 + b"\\r\\n")
            self.wfile.write(b"0\\r\\n\\r\\n")
        elif self.headers.get("upgrade") == "echo":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\n")
            self.wfile.write(b"Connection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n")
            while data := self.connection.recv(65536):
                self.connection.sendall(data)
        else:
            self.answer(200, f"{self.command} {self.path}".encode())
    do_HEAD = do_GET
    def do_POST(self):
        digest = hashlib.sha256()
        size = 0
        for data in self.body():
            digest.update(data)
            size += len(data)
        self.answer(200, f"{size} {digest.hexdigest()}".encode())
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
Server((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("clients")
    rule = {"level": "Metadata", "resources": [{"group": "", "resources": ["pods/*"]}]}
    policy = {"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": [rule]}
    (folder / "policy.json").write_text(json.dumps(policy))
    audit = {"policy": str(folder / "policy.json"), "log": str(folder / "audit.log")}
    made = Cluster(folder, uvloop.new_event_loop(), audit=audit)
    container = {"env": POD_IP, "ports": [{"containerPort": 8080, "name": "http"}]}
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    made.apply(pod("web", "python3", "-c", WEB, container=container))
    made.wait("web", "condition=Ready")
    address = made.get("pod", "web")["status"]["podIP"]
    made.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "front"},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "front-1", "labels": {"kubernetes.io/service-name": "front"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def core(cluster: Cluster) -> client.CoreV1Api:
    config.load_kube_config(cluster.kubeconfig)
    return client.CoreV1Api()


@contextmanager
def connection(cluster: Cluster, user: str = "admin", *groups: str) -> Iterator[Any]:
    files = cluster._files(user, groups or ("system:masters",))
    context = ssl.create_default_context(cafile=files["ca"])
    context.load_cert_chain(files["cert"], files["key"])
    host = cluster.server.removeprefix("https://")
    made = http.client.HTTPSConnection(host, context=context, timeout=60)
    try:
        yield made
    finally:
        made.close()


def ask(cluster: Cluster, method: str, path: str, body: Any = None, **more: Any) -> tuple[Any, ...]:
    """(status, headers, body)."""
    with connection(cluster) as made:
        made.request(method, path, body, **more)
        answer = made.getresponse()
        return answer.status, answer.headers, answer.read()


PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


def test_the_python_client_runs_commands_and_gets_the_exit_code(core: client.CoreV1Api) -> None:
    done = stream(
        core.connect_get_namespaced_pod_exec,
        "web",
        "default",
        command=["sh", "-c", "read line; echo got $line; echo oops >&2; exit 3"],
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    done.write_stdin("hello\n")
    done.run_forever(timeout=20)
    assert (done.read_stdout(), done.read_stderr(), done.returncode) == ("got hello\n", "oops\n", 3)
    text = stream(
        core.connect_get_namespaced_pod_exec,
        "web",
        "default",
        command=["echo", "hi"],
        stdout=True,
        stderr=True,
    )
    assert text == "hi\n"


def test_the_python_client_forwards_ports(core: client.CoreV1Api) -> None:
    forwarded = portforward(
        core.connect_get_namespaced_pod_portforward, "web", "default", ports="8080,8081"
    )
    web = forwarded.socket(8080)
    web.setblocking(True)
    web.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b""
    while data := web.recv(65536):
        answer += data
        if b"GET /hello" in answer:
            break
    assert b"GET /hello" in answer
    eventually(lambda: "refused" in (forwarded.error(8081) or ""))
    forwarded.close()


@contextmanager
def raw_socket(cluster: Cluster, path: str, *protocols: str) -> Iterator[Any]:
    files = cluster._files("admin", ("system:masters",))
    tls = {"ca_certs": files["ca"], "certfile": files["cert"], "keyfile": files["key"]}
    url = cluster.server.replace("https", "wss") + path
    made = websocket.create_connection(
        url, sslopt=tls, subprotocols=list(protocols), timeout=20, suppress_origin=True
    )
    try:
        yield made
    finally:
        made.close()


def received(made: Any) -> dict[int, bytes]:
    """What came on each channel until the server closed."""
    found: dict[int, bytes] = {}
    while True:
        opcode, data = made.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return found
        found[data[0]] = found.get(data[0], b"") + data[1:]


EXEC = f"{PODS}/web/exec?command=cat&stdin=true&stdout=true&stderr=true"


def test_v5_closes_input_in_half(cluster: Cluster) -> None:
    with raw_socket(cluster, EXEC, "v5.channel.k8s.io") as made:
        made.send_binary(b"\x00some ")
        made.send_binary(b"\x00text")
        made.send_binary(b"\xff\x00")
        found = received(made)
    assert (found[1], json.loads(found[3])["status"]) == (b"some text", "Success")


def test_base64_channels_and_the_old_protocol_without_status(cluster: Cluster) -> None:
    path = f"{PODS}/web/exec?command=sh&command=-c&command=echo+hi;exit+2&stdout=1&stderr=1"
    with raw_socket(cluster, path, "v4.base64.channel.k8s.io") as made:
        found = {n - 48: base64.b64decode(data) for n, data in received(made).items()}
    assert found[1] == b"hi\n"
    assert json.loads(found[3])["details"]["causes"] == [{"reason": "ExitCode", "message": "2"}]
    with raw_socket(cluster, path) as made:  # no subprotocol at all
        found = received(made)
    assert (found[1], b"exit status 2" in found[3]) == (b"hi\n", True)


def test_a_handshake_for_something_unknown_is_refused(cluster: Cluster) -> None:
    with (
        pytest.raises(websocket.WebSocketBadStatusException, match="400"),
        raw_socket(cluster, EXEC, "v9.channel.k8s.io"),
    ):
        pass


def test_logs_come_over_websockets(cluster: Cluster) -> None:
    cluster.apply(pod("speaker", "sh", "-c", "echo one; echo two", restartPolicy="Never"))
    cluster.wait("speaker", "jsonpath={.status.phase}=Succeeded")
    for protocol, decode in (("binary.k8s.io", bytes), ("base64.binary.k8s.io", base64.b64decode)):
        with raw_socket(cluster, f"{PODS}/speaker/log", protocol) as made:
            text = b""
            while (message := made.recv_data())[0] != websocket.ABNF.OPCODE_CLOSE:
                text += decode(message[1])
        assert text == b"one\ntwo\n"


def test_services_and_nodes_are_reached_by_name_and_port(cluster: Cluster) -> None:
    for name in ("front", "front:http", "http:front:80", ":front:http"):
        assert ask(cluster, "GET", f"{SERVICES}/{name}/proxy/a?b=%20c")[2] == b"GET /a?b=%20c"
    status, _, text = ask(cluster, "GET", f"{SERVICES}/front:other/proxy/")
    assert (status, b'no service port \\"other\\" found' in text) == (503, True)
    assert ask(cluster, "GET", f"{SERVICES}/nobody/proxy/")[0] == 404
    assert ask(cluster, "GET", "/api/v1/nodes/node-1/proxy/healthz")[2] == b"ok"
    port = cluster.kubelet.address.rpartition(":")[2]
    items = json.loads(ask(cluster, "GET", f"/api/v1/nodes/node-1:{port}/proxy/pods")[2])["items"]
    assert "web" in [item["metadata"]["name"] for item in items]


def test_answers_redirects_and_refusals_of_proxies(cluster: Cluster) -> None:
    proxy = f"{PODS}/web/proxy"
    status, headers, _ = ask(cluster, "GET", proxy)
    assert (status, headers["Location"]) == (301, f"{proxy}/")
    status, headers, _ = ask(cluster, "GET", f"{proxy}/redirect")
    assert (status, headers["Location"]) == (302, f"{proxy}/there?x=1")
    status, headers, body = ask(cluster, "HEAD", f"{proxy}/head")
    assert (status, headers["Content-Length"], body) == (200, "10", b"")
    status, _, body = ask(cluster, "GET", f"{PODS}/web:8099/proxy/")
    assert (status, b"connection refused" in body) == (503, True)


def test_large_bodies_flow_both_ways(cluster: Cluster) -> None:
    data = os.urandom(20 << 20)
    wanted = f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()
    assert ask(cluster, "POST", f"{PODS}/web/proxy/", data)[2] == wanted
    pieces = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
    status, _, text = ask(cluster, "POST", f"{SERVICES}/front/proxy/", pieces, encode_chunked=True)
    assert (status, text) == (200, wanted)
    assert len(ask(cluster, "GET", f"{PODS}/web/proxy/stream?n=320")[2]) == 20 << 20


def test_other_protocols_pass_through_proxies(cluster: Cluster) -> None:
    with connection(cluster) as made:
        made.putrequest("GET", f"{PODS}/web/proxy/echo")
        made.putheader("Connection", "Upgrade")
        made.putheader("Upgrade", "echo")
        made.endheaders()
        head = b""
        while b"\r\n\r\n" not in head:
            head += made.sock.recv(1)
        assert b"101 Switching Protocols" in head
        made.sock.sendall(b"anything")
        assert made.sock.recv(100) == b"anything"


def test_other_protocols_pass_through_kubectl_proxy_too(cluster: Cluster) -> None:
    with subprocess.Popen(cluster.command("proxy", "--port=0"), stdout=PIPE) as proxy:
        try:
            assert proxy.stdout is not None
            host, _, port = proxy.stdout.readline().split()[-1].decode().rpartition(":")
            with socket.create_connection((host, int(port)), timeout=20) as made:
                head = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
                made.sendall(f"GET {PODS}/web/proxy/echo HTTP/1.1\r\n{head}".encode())
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += made.recv(1)
                assert b"101 Switching Protocols" in answer
                made.sendall(b"anything")
                assert made.recv(100) == b"anything"
        finally:
            proxy.kill()


def test_running_commands_needs_permission_to_create(cluster: Cluster) -> None:
    rule = {"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get"]}
    for name, verbs in (("reader", ["get"]), ("runner", ["get", "create"])):
        cluster.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": name},
                "rules": [rule | {"verbs": verbs}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": name},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": name,
                },
                "subjects": [
                    {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
                ],
            },
        )
    arguments = ("exec", "web", "--", "echo", "hi")
    allowed = subprocess.run(cluster.command("--as=runner", *arguments), capture_output=True)
    assert allowed.stdout == b"hi\n", allowed
    refused = subprocess.run(cluster.command("--as=reader", *arguments), capture_output=True)
    assert b'cannot create resource "pods/exec"' in refused.stderr, refused


def test_policies_judge_connections(cluster: Cluster) -> None:
    match = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"]}
    expression = "object.kind != 'PodExecOptions' || !('forbidden' in object.command)"
    cluster.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "commands"},
            "spec": {
                "matchConstraints": {"resourceRules": [match | {"resources": ["pods/exec"]}]},
                "validations": [{"expression": expression, "message": "not this one"}],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "commands"},
            "spec": {"policyName": "commands", "validationActions": ["Deny"]},
        },
    )

    def run(word: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            cluster.command("exec", "web", "--", "echo", word), capture_output=True
        )

    eventually(lambda: b"not this one" in run("forbidden").stderr)
    assert run("fine").stdout == b"fine\n"


def test_connections_are_in_the_audit_log_from_beginning_to_end(cluster: Cluster) -> None:
    subprocess.run(cluster.command("exec", "web", "--", "echo", "noted"), capture_output=True)

    def stages() -> list[tuple[str, int]]:
        lines = (cluster.folder / "audit.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if "command=noted" in line]
        return [(e["stage"], (e.get("responseStatus") or {}).get("code", 0)) for e in events]

    wanted = [("RequestReceived", 0), ("ResponseStarted", 101), ("ResponseComplete", 101)]
    eventually(lambda: stages() == wanted)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_64_mib_come_through_unchanged_and_memory_stays_bounded(cluster: Cluster) -> None:
    """API server and kubelet are in this process."""
    size = 64 << 20
    before = peak_mib()
    script = f"head -c {size} /dev/urandom | tee /tmp/sent | sha256sum >&2; cat /tmp/sent"
    with subprocess.Popen(
        cluster.command("exec", "web", "--", "sh", "-c", script), stdout=PIPE, stderr=PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        digest, count = hashlib.sha256(), 0
        while data := process.stdout.read(1 << 16):
            digest.update(data)
            count += len(data)
        sent = process.stderr.read().split()[0].decode()
    assert (count, digest.hexdigest()) == (size, sent)
    with (
        subprocess.Popen(
            cluster.command("port-forward", "pod/web", ":8080"), stdout=PIPE
        ) as tunnel,
    ):
        assert tunnel.stdout is not None
        port = int(tunnel.stdout.readline().split()[2].rpartition(b":")[2])
        made = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        made.request("POST", "/", (bytes(65536) for _ in range(1024)), encode_chunked=True)
        wanted = hashlib.sha256(bytes(size)).hexdigest()
        assert made.getresponse().read().decode() == f"{size} {wanted}"
        made.request("GET", "/stream?n=1024")
        answer, count = made.getresponse(), 0
        while data := answer.read(1 << 16):
            count += len(data)
        assert count == size
        made.close()
        tunnel.kill()
    assert peak_mib() - before < 48


def test_a_reader_that_stands_still_stops_nobody_else_and_gets_everything_later(
    cluster: Cluster,
) -> None:
    size = 32 << 20
    command = ("exec", "web", "--", "sh", "-c", f"head -c {size} /dev/zero")
    before = peak_mib()
    with subprocess.Popen(cluster.command(*command), stdout=PIPE) as slow:
        assert slow.stdout is not None
        assert len(slow.stdout.read(1)) == 1
        for _ in range(3):
            quick = subprocess.run(cluster.command(*command), capture_output=True, timeout=60)
            assert len(quick.stdout) == size
        assert len(slow.stdout.read()) == size - 1
        assert slow.wait(20) == 0
    assert peak_mib() - before < 160  # the answers that this test holds, and little else


def test_an_attached_client_that_stands_still_is_dropped_and_the_container_goes_on(
    cluster: Cluster,
) -> None:
    script = (
        "read line; head -c 20000000 /dev/zero | tr '\\0' x | fold -w 100; echo; echo end; sleep 1"
    )
    container = {"stdin": True}
    cluster.apply(pod("talker", "sh", "-c", script, container=container, restartPolicy="Never"))
    cluster.wait("talker", "condition=Ready")
    with subprocess.Popen(cluster.command("attach", "talker"), stdout=PIPE) as stuck:
        time.sleep(1)  # nothing tells when kubectl is attached
        attach = cluster.command("attach", "-i", "talker")
        starter = subprocess.Popen(attach, stdin=PIPE, stdout=subprocess.DEVNULL)
        assert starter.stdin is not None
        starter.stdin.write(b"go\n")
        starter.stdin.close()
        eventually(lambda: cluster.kubectl("logs", "talker", "--tail=1") == "end\n", timeout_s=60)
        stuck.kill()
        assert starter.wait(60) == 0
    cluster.kubectl("delete", "pod", "talker", "--grace-period=0", "--force")


def tasks_of_streams(cluster: Cluster) -> list[str]:
    async def find() -> list[str]:
        shown = (repr(task) for task in asyncio.all_tasks())
        parts = ("kubelet/streams", "streaming/link.py", "runtimes/commands.py", "proxying/")
        return [text for text in shown if any(part in text for part in parts)]

    return list(cluster._call(find()))


def test_nothing_is_left_of_streams_whose_api_server_is_killed(cluster: Cluster) -> None:
    mark = f"77{os.getpid()}.25"

    with (
        subprocess.Popen(
            cluster.command("exec", "-i", "web", "--", "sleep", mark), stdin=PIPE
        ) as a,
        subprocess.Popen(cluster.command("port-forward", "pod/web", ":8080"), stdout=PIPE) as b,
    ):
        assert b.stdout is not None
        port = int(b.stdout.readline().split()[2].rpartition(b":")[2])
        held = socket.create_connection(("127.0.0.1", port))
        held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"GET /" in held.recv(65536)
        eventually(lambda: len(running(mark)) == 1)
        cluster._call(_cut(cluster))
        eventually(lambda: not running(mark))
        eventually(lambda: not tasks_of_streams(cluster))
        assert a.wait(20) != 0
        assert select.select([held], [], [], 20)[0]
        held.close()
        b.kill()


async def _cut(cluster: Cluster) -> None:
    """As the death of the API server's process: its connections just end."""
    for each in list(cluster.api._listener._connections):
        each._transport.abort()


def test_a_new_kubelet_finds_no_commands_of_the_old_one_and_attaches_to_what_runs_on(
    cluster: Cluster,
) -> None:
    mark = f"76{os.getpid()}.25"
    script = "while read line; do echo got $line; done"
    cluster.apply(pod("listener", "sh", "-c", script, container={"stdin": True}))
    cluster.wait("listener", "condition=Ready")
    with subprocess.Popen(cluster.command("exec", "web", "--", "sleep", mark)) as client:
        eventually(lambda: len(running(mark)) == 1)
        cluster.restart_kubelet()
        eventually(lambda: not running(mark))
        assert client.wait(20) != 0

    def said() -> bytes:
        attach = cluster.command("attach", "-i", "listener")
        with subprocess.Popen(attach, stdin=PIPE, stdout=PIPE, stderr=PIPE) as attached:
            assert attached.stdin is not None
            assert attached.stdout is not None
            attached.stdin.write(b"again\n")
            attached.stdin.flush()
            line = attached.stdout.readline()
            attached.kill()
            return line

    eventually(lambda: said() == b"got again\n")
    cluster.kubectl("delete", "pod", "listener", "--grace-period=0", "--force")


def running(mark: str) -> list[str]:
    found = subprocess.run(["pgrep", "-f", f"^sleep {mark}"], capture_output=True, text=True)
    return found.stdout.split()
