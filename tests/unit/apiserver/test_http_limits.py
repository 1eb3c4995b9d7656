"""What one client may cost: limits of size and time of the HTTP connection, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from actors.seams import system_seams
from cluster.apiserver.http.connection import Limits
from cluster.apiserver.http.listener import HttpListener
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.http.pieces import PIECE_BYTES, joined

LIMITS = Limits(
    body_bytes=1000,
    header_bytes=2000,
    queued_requests=4,
    header_timeout_s=0.05,
    body_timeout_s=0.05,
    idle_timeout_s=0.05,
)
HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def status(self) -> int:
        return int((await self.reader.readuntil(b"\r\n\r\n")).split()[1])

    async def ended(self) -> bool:
        return await self.reader.read() is not None


def run(
    body: Callable[[Client], Awaitable[None]],
    seen: list[Request] | None = None,
    limits: Limits = LIMITS,
) -> None:
    released = asyncio.Event()

    async def handle(request: Request) -> Response:
        if seen is not None:
            seen.append(request)
        if request.path == "/slow":
            await released.wait()
        return Response(200, b"")

    async def main() -> None:
        listener = HttpListener(system_seams(), handle, limits)
        await listener.start("127.0.0.1", 0, None)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        async with asyncio.timeout(10):
            await body(Client(reader, writer))
        released.set()
        writer.close()
        await listener.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HT", id="a part of the first line"),
        pytest.param(HEAD + b"X-Header: ", id="a part of the headers"),
        pytest.param(HEAD + b"Content-Length: 10\r\n\r\nhalf", id="a part of the body"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf", id="a part of the chunks"
        ),
    ],
)
def test_who_does_not_finish_a_request_in_time_is_sent_away(sent: bytes) -> None:
    seen: list[Request] = []

    async def body(client: Client) -> None:
        client.writer.write(sent)
        assert await client.status() == 408
        assert await client.ended()

    run(body, seen)
    assert seen == []


def test_bytes_that_trickle_in_do_not_win_time() -> None:
    async def body(client: Client) -> None:
        async def trickle() -> None:
            client.writer.write(HEAD)
            while True:
                client.writer.write(b"X: y\r\n")
                await asyncio.sleep(0.005)

        trickling = asyncio.create_task(trickle())
        assert await client.status() == 408
        trickling.cancel()

    run(body)


def test_a_request_behind_others_has_no_more_time_than_the_first() -> None:
    async def body(client: Client) -> None:
        client.writer.write(HEAD + b"Content-Length: 0\r\n\r\n" + HEAD)
        assert await client.status() == 200
        assert await client.status() == 408

    run(body)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"Content-Length: 1001\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001, 413),
        (HEAD + b"X-Header: " + b"x" * 3000, 431),
        (b"not http at all\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ],
)
def test_what_is_too_large_or_no_request_is_refused_before_it_is_read(
    sent: bytes, status: int
) -> None:
    seen: list[Request] = []

    async def body(client: Client) -> None:
        client.writer.write(sent)
        assert await client.status() == status
        assert await client.ended()

    run(body, seen)
    assert seen == []


def test_requests_that_pile_up_behind_a_slow_one_are_not_read_without_bound() -> None:
    seen: list[Request] = []

    async def flood(client: Client) -> None:
        """Until the server takes no more, and the buffers between are full."""
        while True:
            client.writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
            await client.writer.drain()

    async def body(client: Client) -> None:
        client.writer.transport.set_write_buffer_limits(high=0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flood(client), 0.5)
        client.writer.transport.abort()

    run(body, seen, Limits(queued_requests=4))
    assert len(seen) == 1


def test_a_long_answer_comes_whole_to_a_client_that_reads_slowly() -> None:
    parts = [bytes([65 + number % 26]) * (number * 37 % 5000) for number in range(3000)]
    sent = Response(200, b"head", rest=parts)

    async def main() -> None:
        async def handle(request: Request) -> Response:
            return sent

        listener = HttpListener(system_seams(), handle, Limits())
        await listener.start("127.0.0.1", 0, None)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, limit=1000)
        for _ in range(2):  # the connection is good for another request afterwards
            writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Content-Length: %d\r\n" % len(sent.whole) in head
            assert await reader.readexactly(len(sent.whole)) == sent.whole
        writer.write(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"Content-Length: %d\r\n" % len(sent.whole) in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await listener.stop()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_pieces_are_the_same_bytes() -> None:
    parts = [b"", b"a" * PIECE_BYTES, b"b" * (PIECE_BYTES + 1), b"", b"c", b"d" * PIECE_BYTES, b""]
    pieces = list(joined(parts))
    assert b"".join(pieces) == b"".join(parts)
    assert [len(piece) for piece in pieces] == [
        PIECE_BYTES, PIECE_BYTES + 1, 1, PIECE_BYTES,
    ]  # fmt: skip
    assert list(joined([])) == []
