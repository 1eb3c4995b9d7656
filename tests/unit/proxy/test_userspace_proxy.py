"""The userspace proxy with real sockets on loopback addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import uvloop

from actors.seams import system_seams
from cluster.proxy.rules import Backend, Frontend, Rule
from cluster.proxy.userspace import UserspaceProxy

HOST = "127.77.0.9"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def named(name: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.read()
        writer.write(name + b":" + received)
        writer.close()

    return serve


async def backend(serve: Serve) -> tuple[asyncio.Server, Backend]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, Backend("127.0.0.1", server.sockets[0].getsockname()[1])


async def ask(port: int, data: bytes = b"hello") -> bytes:
    """Sends, closes its half and reads the rest: it needs half-close to work."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


LOOP: list[Callable[[], asyncio.AbstractEventLoop]] = []


@pytest.fixture(autouse=True, params=[asyncio.new_event_loop, uvloop.new_event_loop])
def _both_loops(request: pytest.FixtureRequest) -> None:
    """Ray's actors run uvloop, which reads from an accepted connection before we are ready."""
    LOOP[:] = [request.param]


def run(test: Awaitable[None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test, 20)

    with asyncio.Runner(loop_factory=LOOP[0]) as runner:
        runner.run(limited())


def test_connections_go_round_and_half_close_is_passed_on() -> None:
    async def test() -> None:
        (one, first), (two, second) = await backend(named(b"a")), await backend(named(b"b"))
        frontend = Frontend(HOST, free_port(), "TCP")
        proxy = UserspaceProxy(system_seams())
        assert await proxy.apply({frontend: Rule("ns/s", (first, second))}) == {}
        answers = [await ask(frontend.port) for _ in range(4)]
        assert sorted(answers) == [b"a:hello", b"a:hello", b"b:hello", b"b:hello"]
        await proxy.stop()
        one.close()
        two.close()

    run(test())


def test_a_backend_that_speaks_first_is_heard() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready")
        writer.close()

    async def test() -> None:
        server, first = await backend(greet)
        frontend = Frontend(HOST, free_port(), "TCP")
        proxy = UserspaceProxy(system_seams())
        await proxy.apply({frontend: Rule("ns/s", (first,))})
        for _ in range(20):
            reader, writer = await asyncio.open_connection(HOST, frontend.port)
            assert await reader.read() == b"220 ready"
            writer.close()
        await proxy.stop()
        server.close()

    run(test())


def test_a_backend_that_refuses_is_passed_over() -> None:
    async def test() -> None:
        server, alive = await backend(named(b"a"))
        dead = Backend("127.0.0.1", free_port())
        frontend = Frontend(HOST, free_port(), "TCP")
        proxy = UserspaceProxy(system_seams())
        await proxy.apply({frontend: Rule("ns/s", (dead, alive))})
        assert {await ask(frontend.port) for _ in range(4)} == {b"a:hello"}
        await proxy.stop()
        server.close()

    run(test())


def test_a_removed_rule_refuses_new_connections_and_keeps_the_old() -> None:
    async def test() -> None:
        server, alive = await backend(named(b"a"))
        frontend = Frontend(HOST, free_port(), "TCP")
        proxy = UserspaceProxy(system_seams())
        await proxy.apply({frontend: Rule("ns/s", (alive,))})
        reader, writer = await asyncio.open_connection(HOST, frontend.port)
        writer.write(b"1")
        await asyncio.sleep(0.05)
        await proxy.apply({})
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, frontend.port)
        writer.write(b"2")
        writer.write_eof()
        assert await reader.read() == b"a:12"
        writer.close()
        await proxy.stop()
        server.close()

    run(test())


def test_much_data_passes_a_slow_reader_without_being_lost_or_hoarded() -> None:
    size = 30_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * size)
        await writer.drain()
        writer.close()

    async def test() -> None:
        server, alive = await backend(serve)
        frontend = Frontend(HOST, free_port(), "TCP")
        proxy = UserspaceProxy(system_seams())
        await proxy.apply({frontend: Rule("ns/s", (alive,))})
        reader, writer = await asyncio.open_connection(HOST, frontend.port)
        await asyncio.sleep(0.2)
        (half,) = proxy._limit.open
        assert half.transport is not None
        assert half.transport.get_write_buffer_size() < 2_000_000
        received = 0
        while data := await reader.read(1 << 20):
            received += len(data)
        assert received == size
        writer.close()
        await proxy.stop()
        server.close()

    run(test())


def test_connections_beyond_the_limit_are_reset() -> None:
    async def test() -> None:
        server, alive = await backend(named(b"a"))
        frontend = Frontend(HOST, free_port(), "TCP")
        proxy = UserspaceProxy(system_seams(), connections_max=1)
        await proxy.apply({frontend: Rule("ns/s", (alive,))})
        _, held = await asyncio.open_connection(HOST, frontend.port)
        await asyncio.sleep(0.05)
        with pytest.raises(ConnectionResetError):
            assert await ask(frontend.port) == b"never"
        held.close()
        await proxy.stop()
        server.close()

    run(test())


def test_two_proxies_share_an_address_and_a_taken_port_is_reported() -> None:
    async def test() -> None:
        server, alive = await backend(named(b"a"))
        frontend = Frontend(HOST, free_port(), "TCP")
        rules = {frontend: Rule("ns/s", (alive,))}
        proxies = [UserspaceProxy(system_seams()) for _ in range(2)]
        assert [await proxy.apply(rules) for proxy in proxies] == [{}, {}]
        taken = Frontend("127.0.0.1", alive.port, "TCP")
        failed = await proxies[0].apply({taken: Rule("ns/s", (alive,))})
        assert list(failed) == [taken]
        for proxy in proxies:
            await proxy.stop()
        server.close()

    run(test())


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        cast(asyncio.DatagramTransport, self.transport).sendto(b"echo " + data, addr)


def test_udp_datagrams_get_their_answers_from_the_service_address() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        alive = Backend("127.0.0.1", server.get_extra_info("sockname")[1])
        frontend = Frontend(HOST, free_port(socket.SOCK_DGRAM), "UDP")
        proxy = UserspaceProxy(system_seams())
        await proxy.apply({frontend: Rule("ns/s", (alive,))})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            await loop.sock_connect(client, (HOST, frontend.port))
            for text in (b"1", b"2"):
                await loop.sock_sendall(client, text)
                assert await loop.sock_recv(client, 100) == b"echo " + text
        await proxy.stop()
        server.close()

    run(test())
