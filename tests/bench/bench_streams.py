"""Exec and port-forward through a whole cluster: latency, throughput, memory and CPU.

usage: scripts/bench streams [--commands 60] [--mib 128] [--clients 8]

kubectl's own protocols by clients of the benchmark (WebSocket v5 for exec, SPDY in a WebSocket for
port-forward), through an API server and a kubelet in processes of their own, all over TLS. There
is no peer on this machine; `load generator` among the CPU seconds is what the clients cost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
import urllib.parse
from collections.abc import AsyncIterator

import uvloop
from figures import load_of, tell
from whole import Whole, tell_shape, whole
from wsproto.connection import Connection as WebSocketClient
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping

from cluster.client import ClientConfig
from cluster.streaming.link import Link
from cluster.streaming.spdy.connection import Connection as Spdy
from cluster.streaming.spdy.connection import Stream
from cluster.streaming.spdy.session import Session

EXEC, FORWARD = "v5.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"
PATH = "/api/v1/namespaces/default/pods/target"
PIECE = bytes(64 * 1024)
SERVE = """
import os, socket, threading
def serve(c):
    data = bytes(65536)
    try:
        first = c.recv(1)
        while first == b"r": c.sendall(data)
        while c.recv(1 << 20): pass
    except OSError: pass
    c.close()
s = socket.create_server((os.environ["POD_IP"], 7000))
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


class Socket:
    """A WebSocket to the API server; a `Channel` of the bytes of its messages."""

    def __init__(self, link: Link, rest: bytes) -> None:
        self.link = link
        self._protocol = WebSocketClient(ConnectionType.CLIENT)
        self._protocol.receive_data(rest)
        self.over = False

    async def read(self) -> bytes:
        while not self.over:
            pieces = []
            for event in self._protocol.events():
                if isinstance(event, Message):
                    pieces.append(bytes(event.data))
                elif isinstance(event, Ping):
                    await self.link.write(self._protocol.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self.over = True
            if data := b"".join(pieces):
                return data
            if not self.over:
                arrived = await self.link.read()
                self.over = not arrived
                self._protocol.receive_data(arrived or None)
        return b""

    async def write(self, data: bytes, *, urgent: bool = False) -> None:
        await self.link.write(self._protocol.send(BytesMessage(data)), urgent=urgent)

    def close(self) -> None:
        self.link.abort()


class Bench:
    def __init__(self, cluster: Whole, config: ClientConfig, mib: int) -> None:
        url = urllib.parse.urlsplit(config.servers[0])
        self._host, self._port = str(url.hostname), int(url.port or 443)
        self._context = config.tls()
        self._cluster, self._size = cluster, mib << 20

    async def _open(self, path: str, protocol: str) -> Socket:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(
            Link, self._host, self._port, ssl=self._context, server_hostname=self._host
        )
        head = (
            f"GET {PATH}/{path} HTTP/1.1\r\nHost: {self._host}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Protocol: {protocol}\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await link.write(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = await link.read()
            assert data, answer
            answer += data
        answer, _, rest = answer.partition(b"\r\n\r\n")
        assert b" 101 " in answer, answer
        return Socket(link, rest)

    async def _command(self, *words: str, stdin: bool = False) -> Socket:
        query = [("command", word) for word in words] + [("stdout", "true")]
        query += [("stdin", "true")] if stdin else []
        return await self._open(f"exec?{urllib.parse.urlencode(query)}", EXEC)

    async def _run(self) -> float:
        """Seconds from the dial to the status of `true`."""
        start_s = time.perf_counter()
        made = await self._command("true")
        while await made.read():
            pass
        made.close()
        return time.perf_counter() - start_s

    async def commands(self, count: int, clients: int) -> None:
        await self._run()
        start_s = time.perf_counter()
        alone = load_of([await self._run() for _ in range(count)], time.perf_counter() - start_s)
        tell("one command after another, median", "ms", alone.p50_ms, None, p99_ms=alone.p99_ms)
        left = iter(range(count * 2))

        async def client() -> list[float]:
            return [await self._run() for _ in left]

        start_s = time.perf_counter()
        found = await asyncio.gather(*(client() for _ in range(clients)))
        load = load_of([s for each in found for s in each], time.perf_counter() - start_s)
        facts = {"clients": clients, "p50_ms": load.p50_ms, "p99_ms": load.p99_ms}
        tell("commands", "per s", load.per_s, None, **facts)

    @contextlib.asynccontextmanager
    async def _flow(self, name: str) -> AsyncIterator[None]:
        before, start_s = await self._cluster.usage(), time.perf_counter()
        yield
        duration_s = time.perf_counter() - start_s
        spent = (await self._cluster.usage()).since(before)
        cpu_s = {kind: round(s, 2) for kind, s in spent.cpu_s.items() if s >= 0.05}
        mib = self._size / (1 << 20)
        tell(name, "MiB/s", mib / duration_s, None, mib=mib, cpu_s_of=cpu_s)

    async def flows(self) -> None:
        async with self._flow("output of a command"):
            made = await self._command("sh", "-c", f"head -c {self._size} /dev/zero")
            await _take(made.read, self._size)
            made.close()
        async with self._flow("input of a command"):
            made = await self._command("wc", "-c", stdin=True)
            for _ in range(self._size // len(PIECE)):
                await made.write(b"\0" + PIECE)
            await made.write(b"\xff\0")
            while str(self._size).encode() not in await made.read():
                pass
            made.close()

    async def forwards(self) -> None:
        made = await self._open("portforward?ports=7000", FORWARD)
        client = Spdy(made, Session(client=True), lambda _: None)
        running = asyncio.create_task(client.run())
        async with self._flow("port-forward, from the pod"):
            stream = await self._stream(client, 0)
            await stream.write(b"r")
            await _take(stream.read, self._size)
            await stream.reset()
        async with self._flow("port-forward, to the pod"):
            stream = await self._stream(client, 1)
            for _ in range(self._size // len(PIECE)):
                await stream.write(PIECE)
            await stream.finish()
            assert await stream.read() == b""
        latencies = []
        for number in range(100):
            start_s = time.perf_counter()
            stream = await self._stream(client, 2 + number)
            await stream.write(b"x")
            await stream.finish()
            assert await stream.read() == b""
            latencies.append(time.perf_counter() - start_s)
        load = load_of(latencies, sum(latencies))
        tell(
            "connection through a port-forward, median", "ms", load.p50_ms, None, p99_ms=load.p99_ms
        )
        made.close()
        await asyncio.gather(running, return_exceptions=True)

    async def _stream(self, client: Spdy, number: int) -> Stream:
        headers = {"port": "7000", "requestid": str(number)}
        error = await client.open({**headers, "streamtype": "error"})
        await error.finish()
        return await client.open({**headers, "streamtype": "data"})


async def _take(read: object, size: int) -> None:
    left = size
    while left > 0:
        data = await read()  # type: ignore[operator]
        assert data, f"{left} bytes are missing"
        left -= len(data)


async def measure(cluster: Whole, arguments: argparse.Namespace) -> None:
    cluster.client = cluster.new_client()
    env = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    container = {"name": "c", "image": "any", "command": ["python3", "-c", SERVE], "env": env}
    container["readinessProbe"] = {"tcpSocket": {"port": 7000}, "periodSeconds": 1}
    pod = {"metadata": {"name": "target"}, "spec": {"containers": [container]}}
    await cluster.client.create("pods", {"apiVersion": "v1", "kind": "Pod"} | pod, "default")
    while not _ready(await cluster.client.get("pods", "target", "default")):
        await asyncio.sleep(0.2)
    before = cluster.memory_mb()
    bench = Bench(cluster, ClientConfig.from_kubeconfig(cluster.kubeconfig), arguments.mib)
    await bench.commands(arguments.commands, arguments.clients)
    await bench.flows()
    await bench.forwards()
    grown = {kind: round(mb - before[kind], 1) for kind, mb in cluster.memory_mb().items()}
    tell("memory that the streams have cost the API server", "MB", grown["api-server"], None)
    await cluster.client.close()


def _ready(pod: dict[str, object]) -> bool:
    status = pod.get("status") or {}
    assert isinstance(status, dict)
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    return conditions.get("Ready") == "True"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=60)
    parser.add_argument("--mib", type=int, default=128)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    tell_shape(**vars(arguments))
    with whole("--nodes", "1", "--api-servers", "1", "--members", "1") as cluster:
        uvloop.run(measure(cluster, arguments))


if __name__ == "__main__":
    main()
