"""The kubelet's streams, spoken to directly: every protocol version, and hostile clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from wsproto.connection import Connection as WebSocketClient
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from actors.seams import system_seams
from cluster.kubelet.runtimes.base import Container, ContainerSpec
from cluster.kubelet.runtimes.process import ProcessRuntime
from cluster.kubelet.runtimes.reap import reap
from cluster.kubelet.server import KubeletServer
from cluster.kubelet.streams import remote_command, routes
from cluster.streaming.link import Link
from cluster.streaming.spdy import frames
from cluster.streaming.spdy.connection import Connection, Stream
from cluster.streaming.spdy.headers import DICTIONARY, Compressor
from cluster.streaming.spdy.session import STREAMS_MAX, Session

HOST = "127.78.3.1"


class Pods:
    """One pod with one real container; it is reached at this machine's own address."""

    def __init__(self, runtime: ProcessRuntime) -> None:
        self._runtime = runtime

    def pod_objects(self) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "p", "namespace": "ns", "uid": "u"}}]

    def container_attempts(self, namespace: str, pod: str, name: str) -> list[Container] | None:
        return self._runtime.containers("u") if (namespace, pod, name) == ("ns", "p", "c") else None

    def pod_address(self, namespace: str, pod: str) -> str:
        return HOST if (namespace, pod) == ("ns", "p") else ""


class Answered:
    """An upgraded connection: what was read behind the head of the answer comes first."""

    def __init__(self, link: Link, head: bytes, rest: bytes) -> None:
        self.link, self._rest = link, rest
        self.status = int(head.split()[1])
        self.head = head.decode()

    async def read(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest or await self.link.read()

    async def write(self, data: bytes, *, urgent: bool = False) -> None:
        await self.link.write(data, urgent=urgent)

    def close(self) -> None:
        self.link.close()


class Rig:
    def __init__(self, server: KubeletServer) -> None:
        self.server = server
        self._links: list[Link] = []

    async def upgrade(self, path: str, **headers: str) -> Answered:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(Link, HOST, self.server.port)
        self._links.append(link)
        lines = "".join(f"{n.replace('_', '-')}: {v}\r\n" for n, v in headers.items())
        method = "POST" if "SPDY" in headers.get("Upgrade", "") else "GET"
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{lines}\r\n"
        await link.write(request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = await link.read()
            assert data, f"closed after {head!r}"
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        return Answered(link, head, rest)

    async def spdy(self, path: str, versions: str = "v4.channel.k8s.io") -> Answered:
        return await self.upgrade(path, Upgrade="SPDY/3.1", X_Stream_Protocol_Version=versions)

    async def websocket(self, path: str, protocol: str) -> Answered:
        key = {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Version": "13"}
        return await self.upgrade(path, Upgrade="websocket", Sec_WebSocket_Protocol=protocol, **key)

    def close(self) -> None:
        for link in self._links:
            link.abort()


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs a test against a kubelet's server, and looks for what is left behind."""

    async def whole(test: Callable[[Rig], Awaitable[None]]) -> None:
        runtime = ProcessRuntime(str(tmp_path / "node"))
        await runtime.start(lambda _uid: None)
        runtime.isolation = "plain"
        log = str(tmp_path / "0.log")
        env = {"PATH": os.environ["PATH"]}
        spec = ContainerSpec("u", "c", 0, uuid.uuid4().hex, ["sleep", "1000"], env, log)
        await runtime.run(spec)
        server = KubeletServer(system_seams(), Pods(runtime), runtime=runtime)
        await server.start(HOST, 0, {})
        rig = Rig(server)
        try:
            await asyncio.wait_for(test(rig), 25)
        finally:
            rig.close()
            await nothing_left()
            await server.stop()
            await runtime.stop()

    async def nothing_left() -> None:
        deadline = time.monotonic() + 10
        while left := [repr(task) for task in asyncio.all_tasks() if "kubelet" in repr(task)]:
            if "test_kubelet_streams" in left[0] and len(left) == 1:
                return
            assert time.monotonic() < deadline, left
            await asyncio.sleep(0.05)

    yield lambda test: asyncio.run(whole(test))
    reap(str(tmp_path / "node"))


async def read_all(stream: Stream) -> bytes:
    data = b""
    while piece := await stream.read():
        data += piece
    return data


async def execute(rig: Rig, version: str, *command: str) -> tuple[bytes, bytes]:
    """(standard output, what the error stream said) of a command without input."""
    words = "&".join(f"command={word}" for word in command)
    answer = await rig.spdy(f"/exec/ns/p/c?output=1&{words}", version)
    assert answer.status == 101
    client = Connection(answer, Session(client=True), lambda _: None)
    running = asyncio.create_task(client.run())
    error = await client.open({"streamtype": "error"})
    output = await client.open({"streamtype": "stdout"})
    found = await read_all(output), await read_all(error)
    answer.close()
    await running
    return found


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("v5.channel.k8s.io, v4.channel.k8s.io, v3.channel.k8s.io", "v4.channel.k8s.io"),
        ("v3.channel.k8s.io", "v3.channel.k8s.io"),
        ("v2.channel.k8s.io,channel.k8s.io", "v2.channel.k8s.io"),
        ("channel.k8s.io", "channel.k8s.io"),
    ],
)
def test_each_version_of_remote_commands_is_spoken(run: Any, offered: str, chosen: str) -> None:
    async def test(rig: Rig) -> None:
        answer = await rig.spdy("/exec/ns/p/c?output=1&command=true", offered)
        assert f"X-Stream-Protocol-Version: {chosen}" in answer.head
        answer.close()
        output, error = await execute(rig, offered, "sh", "-c", "echo+hi;exit+3")
        assert output == b"hi\n"
        if chosen.startswith("v4"):
            assert json.loads(error)["details"]["causes"][0]["message"] == "3"
        else:
            assert error == b"command terminated with non-zero exit code: exit status 3"
        _, error = await execute(rig, offered, "true")
        assert (json.loads(error)["status"] if chosen.startswith("v4") else error) in (
            "Success",
            b"",
        )

    run(test)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/exec/ns/p/c?output=1&command=a", {"Upgrade": "SPDY/2"}, 400),
        ("/exec/ns/p/c?output=1&command=a", {"Upgrade": "websocket"}, 400),
        ("/exec/ns/p/c?output=1", {"Upgrade": "SPDY/3.1"}, 400),
        ("/exec/ns/p/c?command=a", {"Upgrade": "SPDY/3.1"}, 400),
        ("/exec/ns/p/other?output=1&command=a", {"Upgrade": "SPDY/3.1"}, 404),
        ("/exec/ns/p?output=1&command=a", {"Upgrade": "SPDY/3.1"}, 404),
        ("/attach/ns/q/c?output=1", {"Upgrade": "SPDY/3.1"}, 404),
        ("/portForward/ns/q", {"Upgrade": "SPDY/3.1"}, 404),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_upgrade(
    run: Any, path: str, headers: dict[str, str], status: int
) -> None:
    async def test(rig: Rig) -> None:
        assert (await rig.upgrade(path, **headers)).status == status

    run(test)


def test_streams_that_never_come_end_the_connection(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_command, "STREAMS_TIMEOUT_S", 0.2)

    async def test(rig: Rig) -> None:
        answer = await rig.spdy("/exec/ns/p/c?output=1&command=true")
        assert await answer.read() == b""

    run(test)


async def until_closed(answer: Answered) -> bytes:
    data = b""
    while piece := await answer.read():
        data += piece
    return data


def test_garbage_a_bomb_and_a_giant_frame_end_their_connection_alone(run: Any) -> None:
    packer = zlib.compressobj(zdict=DICTIONARY)
    bomb = packer.compress(struct.pack("!II", 1, 1 << 30) + bytes(12 << 20)) + packer.flush()
    hostile = [
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        frames.syn_stream(1, bomb[: frames.CONTROL_SIZE_BYTES_MAX - 16]),
        struct.pack("!II", 0x80030001, 0xFFFFFF) + bytes(100_000),
        frames.syn_stream(2, Compressor().pack({})),
    ]

    async def test(rig: Rig) -> None:
        for data in hostile:
            answer = await rig.spdy("/exec/ns/p/c?output=1&command=true")
            await answer.write(data)
            await until_closed(answer)
        assert (await execute(rig, "v4.channel.k8s.io", "echo", "fine"))[0] == b"fine\n"

    run(test)


def test_more_streams_than_a_connection_may_have_are_refused_and_go_when_it_goes(
    run: Any,
) -> None:
    async def test(rig: Rig) -> None:
        answer = await rig.spdy("/portForward/ns/p", "portforward.k8s.io")
        client = Session(client=True)
        for number in range(STREAMS_MAX + 50):
            client.open({"streamtype": "data", "port": "1", "requestid": str(number)})
        await answer.write(client.output())
        refused = 0
        reader = frames.FrameReader()
        while refused < 50:
            for frame in reader.feed(await answer.read()):
                refused += isinstance(frame, frames.Control) and frame.type == frames.RST_STREAM
        answer.close()

    run(test)


def test_endless_pings_are_answered_no_faster_than_they_are_read(run: Any) -> None:
    async def test(rig: Rig) -> None:
        answer = await rig.spdy("/portForward/ns/p", "portforward.k8s.io")
        flood = frames.ping(1) * 5000
        sent = 0
        try:
            while sent < 64 << 20:
                await asyncio.wait_for(answer.write(flood), 1)
                sent += len(flood)
        except TimeoutError:
            pass  # nobody reads the answers, so no more pings are taken
        assert sent < 64 << 20
        answer.link.abort()

    run(test)


def test_forwarded_connections_carry_data_and_tell_errors(run: Any) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()  # to the end: the client has closed its half
        writer.write(data.upper())
        writer.close()

    async def test(rig: Rig) -> None:
        server = await asyncio.start_server(echo, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        answer = await rig.spdy("/portForward/ns/p", "portforward.k8s.io")
        client = Connection(answer, Session(client=True), lambda _: None)
        running = asyncio.create_task(client.run())

        async def forward(number: int, to: str) -> tuple[Stream, Stream]:
            headers = {"port": to, "requestid": str(number)}
            error = await client.open(headers | {"streamtype": "error"})
            await error.finish()
            return error, await client.open(headers | {"streamtype": "data"})

        error, data = await forward(0, str(port))
        await data.write(b"shout")
        await data.finish()
        assert (await read_all(data), await read_all(error)) == (b"SHOUT", b"")
        for to, text in (("1", b"refused"), ("x", b"invalid port 'x'"), ("99999", b"invalid")):
            error, _ = await forward(1, to)
            assert text in await read_all(error)
        answer.close()
        await running
        server.close()

    run(test)


def test_a_terminal_over_websocket_is_resized_and_pings_are_answered(run: Any) -> None:
    async def test(rig: Rig) -> None:
        path = "/exec/ns/p/c?input=1&output=1&tty=1&command=sh"
        answer = await rig.websocket(path, "v5.channel.k8s.io")
        client = WebSocketClient(ConnectionType.CLIENT)
        events: list[Any] = []

        async def until(done: Callable[[], bool]) -> None:
            while not done():
                data = await answer.read()
                assert data, events
                client.receive_data(data)
                events.extend(client.events())

        def said() -> bytes:
            pieces = [e.data for e in events if isinstance(e, BytesMessage)]
            return b"".join(bytes(p)[1:] for p in pieces if p[:1] == b"\x01")

        await answer.write(client.send(Ping(b"x")))
        await answer.write(client.send(BytesMessage(b'\x04{"Width":91,"Height":37}')))
        await until(lambda: any(isinstance(e, Pong) for e in events))
        await asyncio.sleep(0.1)
        await answer.write(client.send(BytesMessage(b"\x00stty size\n")))
        await until(lambda: b"37 91" in said())
        await answer.write(client.send(BytesMessage(b"\x00exit 6\n")))
        await until(lambda: any(isinstance(e, CloseConnection) for e in events))
        status = [bytes(e.data)[1:] for e in events if getattr(e, "data", b"")[:1] == b"\x03"]
        assert b'"message": "6"' in status[-1]
        answer.close()

    run(test)


def test_a_message_that_is_too_large_for_its_channel_ends_the_websocket(run: Any) -> None:
    async def test(rig: Rig) -> None:
        path = "/exec/ns/p/c?input=1&output=1&command=cat"
        answer = await rig.websocket(path, "v4.channel.k8s.io")
        client = WebSocketClient(ConnectionType.CLIENT)
        await answer.write(client.send(BytesMessage(b"\x04" + bytes(100_000))))
        client.receive_data(await until_closed(answer))
        assert [e.code for e in client.events() if isinstance(e, CloseConnection)] == [1002]

    run(test)


def test_run_answers_with_the_output(run: Any) -> None:
    async def test(rig: Rig) -> None:
        async def post(path: str) -> tuple[int, bytes]:
            reader, writer = await asyncio.open_connection(HOST, rig.server.port)
            writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            return int(head.split()[1]), body

        status, body = await post("/run/ns/p/c?cmd=echo+some+text")
        assert (status, b"some text\n" in body) == (200, True)
        status, body = await post("/run/ns/p/c?cmd=false")
        assert (status, b"exited with 1" in body) == (500, True)

    run(test)


def test_a_request_with_a_giant_head_is_dropped(run: Any) -> None:
    async def test(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection(HOST, rig.server.port)
        writer.write(b"GET /exec/ns/p/c HTTP/1.1\r\nX-Big: " + bytes(1 << 20))
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    run(test)


def test_a_node_has_only_so_many_streams_at_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "CONNECTIONS_MAX", 2)

    async def test(rig: Rig) -> None:
        first = await rig.spdy("/portForward/ns/p", "portforward.k8s.io")
        second = await rig.spdy("/portForward/ns/p", "portforward.k8s.io")
        refused = await rig.spdy("/portForward/ns/p", "portforward.k8s.io")
        assert (first.status, second.status, refused.status) == (101, 101, 503)
        first.close()
        while (await rig.spdy("/portForward/ns/p", "portforward.k8s.io")).status != 101:
            await asyncio.sleep(0.05)

    run(test)
