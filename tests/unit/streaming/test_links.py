"""Links: nothing is read that nobody wants, relays deliver to the end; SPDY, WebSocket on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from cluster.streaming import websocket
from cluster.streaming.link import Link, relay
from cluster.streaming.spdy.connection import Connection as Spdy
from cluster.streaming.spdy.connection import Stream
from cluster.streaming.spdy.session import Session
from cluster.streaming.websocket import HandshakeRefused, WebSocket


async def pair() -> tuple[Link, Link]:
    """Two ends of a TCP connection."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Link] = loop.create_future()

    def accept() -> Link:
        link = Link()
        loop.call_soon(accepted.set_result, link)
        return link

    server = await loop.create_server(accept, "127.0.0.1", 0)
    _, link = await loop.create_connection(Link, *server.sockets[0].getsockname())
    other = await accepted
    server.close()
    return link, other


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(limited())


async def read_all(link: Any) -> bytes:
    parts = []
    while data := await link.read():
        parts.append(data)
    return b"".join(parts)


def test_a_writer_waits_for_a_reader_that_reads_nothing() -> None:
    async def test() -> None:
        one, other = await pair()
        written = 0

        async def write() -> None:
            nonlocal written
            while True:
                await one.write(bytes(65536))
                written += 65536

        task = asyncio.create_task(write())
        before = -1
        while written != before:  # until everything on the way is full
            before = written
            await asyncio.sleep(0.2)
        held = written
        assert held < 64 << 20
        taken = 0
        while taken <= held:
            taken += len(await other.read())
        task.cancel()
        one.abort()

    run(test)


def test_the_end_of_one_direction_leaves_the_other_open() -> None:
    async def test() -> None:
        one, other = await pair()
        await one.write(b"question")
        one.end_writing()
        assert await read_all(other) == b"question"
        await other.write(b"answer")
        other.close()
        assert await read_all(one) == b"answer"

    run(test)


def test_a_relay_delivers_all_that_a_backend_said_before_it_left() -> None:
    async def test() -> None:
        client, outer = await pair()
        inner, backend = await pair()
        relaying = asyncio.create_task(relay(outer, inner))
        await client.write(b"question")
        assert await backend.read() == b"question"
        await backend.write(bytes(1 << 20))
        backend.close()
        assert len(await read_all(client)) == 1 << 20
        await relaying

    run(test)


def test_a_relay_ends_with_its_client_though_the_backend_reads_nothing() -> None:
    async def test() -> None:
        client, outer = await pair()
        inner, backend = await pair()
        relaying = asyncio.create_task(relay(outer, inner))
        for _ in range(100):
            try:
                await asyncio.wait_for(client.write(bytes(1 << 20)), 0.2)
            except TimeoutError:
                break
        client.abort()
        ping = asyncio.create_task(pings(backend))
        await relaying
        ping.cancel()
        backend.abort()

    run(test)


async def pings(link: Link) -> None:
    while True:
        await asyncio.sleep(0.05)
        await link.write(b"ping", urgent=True)


def test_streams_of_one_connection_carry_megabytes_both_ways_at_once() -> None:
    async def echo(stream: Stream) -> None:
        while data := await stream.read():
            await stream.write(data)
        await stream.finish()

    async def test() -> None:
        near, far = await pair()
        tasks: set[asyncio.Task[None]] = set()
        server = Spdy(far, Session(), lambda s: tasks.add(asyncio.create_task(echo(s))))
        client = Spdy(near, Session(client=True), lambda s: None)
        runs = [asyncio.create_task(server.run()), asyncio.create_task(client.run())]

        async def one(number: int) -> None:
            stream = await client.open({"number": str(number)})
            data = bytes([number]) * (1 << 20)

            async def send() -> None:
                for at in range(0, len(data), 50_000):
                    await stream.write(data[at : at + 50_000])
                await stream.finish()

            _, back = await asyncio.gather(send(), read_all(stream))
            assert back == data

        await asyncio.gather(*(one(number) for number in range(5)))
        near.close()
        await asyncio.gather(*runs, *tasks)

    run(test)


def test_a_handshake_is_negotiated_by_the_clients_preference() -> None:
    headers = {"sec-websocket-protocol": "v9, v5 , v4", "sec-websocket-version": "13"}
    assert websocket.negotiate(headers, ["v4", "v5"]) == "v5"
    assert websocket.negotiate({}, ["v4"]) == ""
    with pytest.raises(HandshakeRefused, match="none of"):
        websocket.negotiate(headers, ["v1"])
    with pytest.raises(HandshakeRefused, match="with a key"):
        websocket.accept_headers(headers, "v4")
    key = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}  # the example of RFC 6455
    answer = websocket.accept_headers(headers | key, "v4")
    assert answer["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_messages_are_received_in_pieces_and_pings_are_answered() -> None:
    async def test() -> None:
        near, far = await pair()
        server, client = WebSocket(far), Connection(ConnectionType.CLIENT)
        await near.write(client.send(Ping(b"are you there")))
        await near.write(client.send(BytesMessage(b"\x00abc", message_finished=False)))
        await near.write(client.send(BytesMessage(b"def")))
        pieces = []
        while sum(len(p.data) for p in pieces) < 7:
            piece = await server.receive()
            assert piece is not None
            pieces.append(piece)
        assert b"".join(p.data for p in pieces) == b"\x00abcdef"
        assert (pieces[0].first, pieces[-1].last) == (True, True)
        await server.send(b"reply")
        await server.close(1000)
        events: list[Any] = []
        while not any(isinstance(event, CloseConnection) for event in events):
            client.receive_data(await near.read())
            events += client.events()
        assert [type(event) for event in events] == [Pong, BytesMessage, CloseConnection]
        near.close()
        far.close()

    run(test)


def test_a_frame_that_breaks_the_protocol_ends_the_websocket_with_its_code() -> None:
    async def test() -> None:
        near, far = await pair()
        await near.write(b"\xff\xff" + bytes(100))
        server = WebSocket(far)
        assert await server.receive() is None
        client = Connection(ConnectionType.CLIENT)
        client.receive_data(await near.read())
        (event,) = client.events()
        assert isinstance(event, CloseConnection)
        assert event.code == 1002
        far.close()
        near.close()

    run(test)
