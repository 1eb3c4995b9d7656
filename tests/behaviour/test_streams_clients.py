"""Streams as other clients use them: the Python client, raw WebSockets, proxies; who may."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websocket
from kubernetes import client, config
from kubernetes.stream import portforward, stream
from node_cluster import Cluster, eventually, needs_kubectl, pod
from web_cluster import web_cluster

pytestmark = needs_kubectl

PIPE = subprocess.PIPE


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with web_cluster(tmp_path_factory.mktemp("streams")) as made:
        yield made


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
