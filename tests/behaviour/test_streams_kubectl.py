"""exec, attach, run, cp, port-forward, logs and proxy with the real kubectl, by both protocols."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import re
import select
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop
from node_cluster import Cluster, eventually, needs_kubectl, pod

from cluster.kubelet.streams import remote_command

pytestmark = needs_kubectl

PROTOCOLS = {
    "websocket": {},
    "spdy": {
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false",
        "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false",
    },
}
ECHO = """
import os, socket, threading
def serve(c):
    while d := c.recv(65536): c.sendall(d)
    c.close()
s = socket.create_server((os.environ["POD_IP"], 7000))
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
POD_IP = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]


class Streams:
    """A cluster with a pod `box`, and kubectl speaking one protocol."""

    def __init__(self, cluster: Cluster, protocol: str) -> None:
        self.cluster = cluster
        self.environment = os.environ | PROTOCOLS[protocol]

    def run(
        self, *arguments: str, stdin: bytes | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.cluster.command(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout_s,
            env=self.environment,
        )

    def start(self, *arguments: str, **more: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.cluster.command(*arguments), env=self.environment, bufsize=0, **more
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("streams"), uvloop.new_event_loop())
    container = {"env": [*POD_IP, {"name": "COLOUR", "value": "blue"}], "workingDir": "/tmp"}
    second = {
        "name": "second",
        "image": "any",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "10000"],
    }
    box = pod("box", "python3", "-c", ECHO, container=container)
    box["spec"]["containers"].append(second)
    made.apply(box)
    made.wait("box", "condition=Ready")
    yield made
    made.close()


@pytest.fixture(params=sorted(PROTOCOLS))
def streams(cluster: Cluster, request: pytest.FixtureRequest) -> Streams:
    return Streams(cluster, request.param)


@contextmanager
def killed(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process is killed at the end, also when the test fails."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def terminal(streams: Streams, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """kubectl on a terminal of its own; (process, the terminal's master)."""
    master, slave = pty.openpty()
    process = streams.start(*arguments, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        yield process, master
    finally:
        process.kill()
        process.wait()
        os.close(master)


def read_until(master: int, wanted: bytes, timeout_s: float = 20) -> bytes:
    data, deadline = b"", time.monotonic() + timeout_s
    while wanted not in data:
        assert select.select([master], [], [], max(0, deadline - time.monotonic()))[0], data
        try:
            data += os.read(master, 65536)
        except OSError:
            break
    assert wanted in data, data
    return data


def processes(text: str) -> list[str]:
    found = subprocess.run(["pgrep", "-f", "--", text], capture_output=True, text=True)
    return found.stdout.split()


def test_exec_has_the_containers_environment_and_folder_and_tells_the_exit_code(
    streams: Streams,
) -> None:
    script = "echo $COLOUR; pwd; echo oops >&2; exit 7"
    done = streams.run("exec", "box", "-c", "main", "--", "sh", "-c", script)
    assert done.stdout == b"blue\n/tmp\n"
    assert done.stderr.startswith(b"oops\n")
    assert b"command terminated with exit code 7" in done.stderr
    assert done.returncode == 7
    killed = streams.run("exec", "box", "-c", "second", "--", "sh", "-c", "kill -9 $$")
    assert killed.returncode == 137


def test_exec_passes_standard_input_on_to_its_end(streams: Streams) -> None:
    data = os.urandom(8 << 20)
    script = "sha256sum; echo done >&2"
    done = streams.run("exec", "-i", "box", "-c", "main", "--", "sh", "-c", script, stdin=data)
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert (done.stderr, done.returncode) == (b"done\n", 0)


def test_exec_errors_say_what_is_wrong(streams: Streams) -> None:
    def failure(*arguments: str) -> str:
        done = streams.run("exec", *arguments)
        assert done.returncode == 1, done
        return done.stderr.decode()

    assert "executable file not found in $PATH" in failure("box", "-c", "main", "--", "nosuch")
    assert "container nobody is not valid for pod box" in failure("box", "-c", "nobody", "--", "a")
    assert 'pods "nobody" not found' in failure("nobody", "--", "true")


def test_exec_on_a_terminal_is_interactive_and_follows_its_size(streams: Streams) -> None:
    with terminal(streams, "exec", "-it", "box", "-c", "main", "--", "sh") as (process, master):
        read_until(master, b"#" if os.geteuid() == 0 else b"$")
        os.write(master, b"tty && echo a-$((40+2))\n")
        assert b"/dev/pts/" in read_until(master, b"a-42")
        subprocess.run(["stty", "rows", "33", "cols", "101"], stdin=master, check=True)
        process.send_signal(28)  # SIGWINCH
        eventually(lambda: b"33 101" in _ask(master, b"stty size\n"))
        os.write(master, b"exit 5\n")
        assert process.wait(20) == 5


def _ask(master: int, question: bytes) -> bytes:
    os.write(master, question)
    time.sleep(0.2)
    return os.read(master, 65536)


def test_a_killed_client_leaves_no_process_behind(streams: Streams) -> None:
    mark = f"78{os.getpid()}.5"
    script = f"sleep {mark} & sleep {mark}"
    with streams.start(
        "exec", "-i", "box", "-c", "main", "--", "sh", "-c", script, stdin=subprocess.PIPE
    ) as client:
        eventually(lambda: len(processes(f"^sleep {mark}")) == 2)
        client.kill()
    eventually(lambda: not processes(f"^sleep {mark}"))


def test_a_killed_client_whose_input_nobody_reads_is_noticed(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_command, "PING_S", 0.5)
    mark = f"79{os.getpid()}.5"
    with (
        open("/dev/zero", "rb") as zeros,
        streams.start(
            "exec", "-i", "box", "-c", "main", "--", "sleep", mark, stdin=zeros.fileno()
        ) as client,
    ):
        eventually(lambda: len(processes(f"^sleep {mark}")) == 1)
        time.sleep(1)
        client.kill()
    eventually(lambda: not processes(f"^sleep {mark}"), timeout_s=60)


def test_files_are_copied_both_ways_unchanged(streams: Streams, tmp_path: Path) -> None:
    data = os.urandom(16 << 20)
    (tmp_path / "there").write_bytes(data)
    folder = f"/tmp/{os.urandom(4).hex()}"
    assert streams.run("exec", "box", "-c", "main", "--", "mkdir", folder).returncode == 0
    copied = streams.run("cp", "-c", "main", str(tmp_path / "there"), f"box:{folder}/file")
    assert copied.returncode == 0, copied.stderr
    back = streams.run("cp", "-c", "main", f"box:{folder}/file", str(tmp_path / "back"))
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "back").read_bytes() == data


def test_run_attaches_to_a_new_pod_and_takes_its_exit_code(streams: Streams) -> None:
    name = f"once-{os.urandom(3).hex()}"
    here = '--overrides={"spec":{"nodeName":"node-1"}}'  # no scheduler places it
    arguments = ("run", name, "-i", "--rm", "--quiet", "--restart=Never", "--image=any", here)
    script = "cat; echo end; exit 3"
    done = streams.run(*arguments, "--command", "--", "sh", "-c", script, stdin=b"one\ntwo\n")
    assert done.stdout.startswith(b"one\ntwo\nend\n"), done
    assert done.returncode == 3, done
    assert streams.run("get", "pod", name).returncode == 1


def test_several_clients_attach_and_the_first_to_leave_ends_input_that_is_open_once(
    streams: Streams,
) -> None:
    name = f"shared-{os.urandom(3).hex()}"
    container = {"stdin": True, "stdinOnce": True}
    script = "while read line; do echo got $line; done; echo closed; sleep 1"
    streams.cluster.apply(pod(name, "sh", "-c", script, container=container, restartPolicy="Never"))
    streams.cluster.wait(name, "condition=Ready")
    pipe = subprocess.PIPE
    with (
        streams.start("attach", name, stdout=pipe, stdin=subprocess.DEVNULL) as watcher,
        streams.start("attach", "-i", name, stdin=pipe, stdout=pipe) as writer,
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert watcher.stdout is not None
        time.sleep(1)  # nothing tells when kubectl is attached
        writer.stdin.write(b"one\n")
        assert writer.stdout.readline() == b"got one\n"
        assert watcher.stdout.readline() == b"got one\n"
        writer.stdin.close()
        assert watcher.stdout.read() == b"closed\n"
        assert (watcher.wait(20), writer.wait(20)) == (0, 0)
    assert streams.cluster.kubectl("logs", name) == "got one\nclosed\n"
    streams.cluster.kubectl("delete", "pod", name, "--grace-period=1")


@contextmanager
def forwarded(streams: Streams, what: str, port: str) -> Iterator[int]:
    """The local port that leads to a port of a pod or Service."""
    with streams.start("port-forward", what, f":{port}", stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, line
            yield int(found[1])
        finally:
            process.kill()


def echoed(port: int, data: bytes) -> bytes:
    """What an echo server sends back of it, read while it is sent."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setblocking(False)
        left = memoryview(data)
        while len(received) < len(data):
            readable, writable, _ = select.select(
                [connection], [connection] if left else [], [], 60
            )
            assert readable or writable, f"stuck after {len(received)} bytes"
            if writable:
                left = left[connection.send(left[:65536]) :]
            if readable:
                piece = connection.recv(65536)
                assert piece, "closed"
                received += piece
    return bytes(received)


def test_ports_are_forwarded_for_many_connections_at_once(streams: Streams) -> None:
    with forwarded(streams, "pod/box", "7000") as port:
        connections = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(8)]
        for number, connection in enumerate(connections):
            connection.sendall(b"hello %d" % number)
        assert [c.recv(100) for c in connections] == [b"hello %d" % n for n in range(8)]
        for connection in connections:
            connection.close()
        data = os.urandom(4 << 20)
        assert echoed(port, data) == data


def test_a_port_that_nobody_listens_on_is_reported_and_others_go_on(streams: Streams) -> None:
    with streams.start(
        "port-forward", "pod/box", ":7001", ":7000", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline().decode() for _ in range(4)]
        ports = [int(re.findall(r":(\d+) ->", line)[0]) for line in lines if "127.0.0.1" in line]
        with socket.create_connection(("127.0.0.1", ports[0]), timeout=20) as connection:
            assert connection.recv(100) == b""
        assert b"error forwarding port 7001 to pod" in process.stderr.readline()
        process.kill()


def test_kubectl_proxy_leads_through_pods_with_all_methods(cluster: Cluster) -> None:
    server = """
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do(self):
        n = int(self.headers.get("content-length") or 0)
        body = f"{self.command} {self.path} {self.rfile.read(n).decode()}".encode()
        self.send_response(201 if self.command == "PUT" else 200)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-seen-user", self.headers.get("authorization", "none"))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), H).serve_forever()
"""
    ports = {"ports": [{"containerPort": 8080, "name": "http"}], "env": POD_IP}
    cluster.apply(pod("web", "python3", "-c", server, container=ports))
    cluster.wait("web", "condition=Ready")
    pipe = subprocess.PIPE
    with killed(subprocess.Popen(cluster.command("proxy", "--port=0"), stdout=pipe)) as proxy:
        assert proxy.stdout is not None
        line = proxy.stdout.readline().decode()
        base = f"http://{line.split()[-1]}/api/v1/namespaces/default"

        def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
            request = urllib.request.Request(f"{base}/{path}", body, method=method)
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert answer.headers["X-Seen-User"] == "none"
                return int(answer.status), answer.read().decode()

        def answer() -> str:
            try:
                return ask("GET", "pods/web/proxy/x")[1]
            except urllib.error.HTTPError as error:
                with error:
                    return error.read().decode()

        eventually(lambda: "GET /x" in answer())
        assert ask("GET", "pods/http:web:8080/proxy/a%20b/c?d=e&f=%2F") == (
            200,
            "GET /a%20b/c?d=e&f=%2F ",
        )
        assert ask("PUT", "pods/web:8080/proxy/", b"data") == (201, "PUT / data")
        assert ask("DELETE", "pods/web/proxy/gone")[1] == "DELETE /gone "
        assert ask("PATCH", "pods/web/proxy/p", b"x")[1] == "PATCH /p x"


def test_debug_adds_a_container_that_sees_the_processes_of_another(streams: Streams) -> None:
    name = f"target-{os.urandom(3).hex()}"
    streams.cluster.apply(pod(name, "sleep", "4321"))
    streams.cluster.wait(name, "condition=Ready")
    arguments = ("debug", name, "-i", "--image=any", "-c", "tool", "--target=main", "--quiet")
    script = "read line; echo $line; tr '\\0' ' ' < /proc/2/cmdline; exit 4"
    done = streams.run(*arguments, "--", "sh", "-c", script, stdin=b"hello\n")
    assert done.stdout == b"hello\nsleep 4321 ", done
    eventually(lambda: "terminated" in str(streams.cluster.get("pod", name)["status"]))
    status = streams.cluster.get("pod", name)["status"]
    (tool,) = status["ephemeralContainerStatuses"]
    assert (tool["name"], tool["state"]["terminated"]["exitCode"]) == ("tool", 4)
    assert status["phase"] == "Running"
    assert status["containerStatuses"][0]["restartCount"] == 0
    assert streams.cluster.kubectl("logs", name, "-c", "tool") == "hello\nsleep 4321 "
    streams.cluster.kubectl("delete", "pod", name, "--grace-period=1", "--timeout=20s")


def test_services_are_forwarded_to_and_a_killed_forward_lets_go(streams: Streams) -> None:
    cluster = streams.cluster
    port = {"port": 70, "targetPort": 7000}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "echo"},
            "spec": {"selector": {"app": "box"}, "ports": [port]},
        }
    )
    with forwarded(streams, "service/echo", "70") as local:
        assert echoed(local, b"hello") == b"hello"
        held = socket.create_connection(("127.0.0.1", local), timeout=20)
    with contextlib.suppress(ConnectionResetError):
        assert held.recv(1) == b""
    held.close()


def test_logs_are_chosen_by_label_time_tail_and_attempt(cluster: Cluster) -> None:
    for name in ("talk-a", "talk-b"):
        one = pod(name, "sh", "-c", f"echo {name} one; echo {name} two; sleep 1000")
        one["metadata"]["labels"] = {"talks": "yes"}
        cluster.apply(one)
    script = "if [ -e /dev/termination-log ]; then date +%s%N; fi; sleep 1; exit 1"
    cluster.apply(pod("again", "sh", "-c", script))
    for name in ("talk-a", "talk-b"):
        cluster.wait(name, "condition=Ready")
    said = cluster.kubectl("logs", "-l", "talks=yes", "--prefix", "--tail=1")
    assert sorted(said.splitlines()) == [
        f"[pod/{name}/main] {name} two" for name in ("talk-a", "talk-b")
    ]
    assert cluster.kubectl("logs", "talk-a", "--since=1h", "--limit-bytes=5") == "talk-"
    future = "2099-01-01T00:00:00Z"
    assert cluster.kubectl("logs", "talk-a", f"--since-time={future}") == ""
    stamped = cluster.kubectl("logs", "talk-a", "--timestamps").splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z talk-a one", stamped)
    eventually(
        lambda: cluster.get("pod", "again")["status"]["containerStatuses"][0]["restartCount"] > 0
    )
    eventually(lambda: cluster.kubectl("logs", "again") != "")
    now, before = cluster.kubectl("logs", "again"), cluster.kubectl("logs", "again", "-p")
    assert int(before) < int(now)
    cluster.kubectl("delete", "pod", "again", "talk-a", "talk-b", "--grace-period=0", "--force")


def test_a_copy_of_a_pod_and_a_nodes_root_can_be_debugged(streams: Streams) -> None:
    name = f"broken-{os.urandom(3).hex()}"
    streams.cluster.apply(pod(name, "sleep", "1000"))
    streams.cluster.wait(name, "condition=Ready")
    copy = f"{name}-copy"
    copied = ("debug", name, "-i", f"--copy-to={copy}", "--same-node", "--image=any", "-c", "tool")
    done = streams.run(*copied, "--quiet", "--", "sh", "-c", "read x; echo got $x", stdin=b"hi\n")
    assert done.stdout == b"got hi\n", done
    node = ("debug", "node/node-1", "-i", "--image=any", "--quiet", "--profile=general")
    done = streams.run(*node, "--", "sh", "-c", "read x; ls -d /host/etc", stdin=b"go\n")
    assert done.stdout == b"/host/etc\n", done
    streams.cluster.kubectl("delete", "pod", name, copy, "--grace-period=0", "--force")
