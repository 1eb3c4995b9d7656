"""Large data, slow readers, and clients, kubelets and API servers that go away."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import resource
import select
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from node_cluster import Cluster, eventually, needs_kubectl, pod
from web_cluster import web_cluster

pytestmark = needs_kubectl

PIPE = subprocess.PIPE


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with web_cluster(tmp_path_factory.mktemp("streams")) as made:
        yield made


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
