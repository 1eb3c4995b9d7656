"""One HTTP/1.1 client connection: requests one after the other, bodies read as they arrive."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from cluster.streaming.link import Link

SWITCHING = 101


class ConnectionLost(Exception):
    """The connection ended before the answer was complete."""


class Connection(asyncio.Protocol):
    """Carries one exchange at a time: `send`, then `head`, then `chunk` until it gives b""."""

    high_water_bytes = 1 << 20

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._link: Link | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._head_done = False
        self._complete = False
        self._keep_alive = False
        self._paused = False
        self._after_upgrade = b""

    # What the pool and the transport call.

    @property
    def closed(self) -> bool:
        return self._error is not None or self._transport is None or self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """The last answer was read to its end and the server keeps the connection open."""
        return self._complete and self._keep_alive and not self._chunks and not self.closed

    @property
    def switched(self) -> bool:
        """The server has agreed to another protocol."""
        return self._head_done and bool(self._parser.get_status_code() == SWITCHING)

    def send(self, request: bytes) -> None:
        """Begin an exchange. Raises ConnectionLost, with nothing sent, if already closed."""
        if self.closed or self._transport is None:
            raise ConnectionLost("closed by the server while idle")
        self._begin()
        self._transport.write(request)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status code and headers (names in lower case). Raises ConnectionLost."""
        while not self._head_done:
            await self._wait()
        return self._parser.get_status_code(), self._headers

    async def chunk(self) -> bytes:
        """The next piece of the body; b"" at its end. Raises ConnectionLost."""
        while not self._chunks and not self._complete:
            await self._wait()
        if not self._chunks:
            return b""
        data = self._chunks.popleft()
        self._buffered_bytes -= len(data)
        self._flow()
        return data

    async def write(self, data: bytes) -> None:
        """More of a request. Waits while the server reads slowly. Raises ConnectionLost."""
        if self.closed or self._transport is None:
            raise self._error or ConnectionLost("closed")
        self._transport.write(data)
        await self._writable.wait()

    def upgraded(self) -> Link:
        """The connection as a link, after an answer 101."""
        assert self._transport is not None
        self._link = Link()
        self._link.connection_made(self._transport)
        if self._after_upgrade:
            self._link.data_received(self._after_upgrade)
        if self._error is not None:
            self._link.connection_lost(None)
        return self._link

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._fail(ConnectionLost("closed"))

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._changed.clear()
        await self._changed.wait()

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._changed.set()

    def _flow(self) -> None:
        """Stop reading from the socket while too much waits to be consumed."""
        full = self._buffered_bytes > self.high_water_bytes
        if self._transport is None or full == self._paused or self._transport.is_closing():
            return
        self._paused = full
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._link is not None:
            self._link.data_received(data)
            return
        if self.switched:
            self._after_upgrade += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._fail(ConnectionLost(f"not HTTP: {error}"))
            self.close()

    def eof_received(self) -> bool:
        return self._link is not None and self._link.eof_received()

    def pause_writing(self) -> None:
        self._writable.clear()
        if self._link is not None:
            self._link.pause_writing()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._link is not None:
            self._link.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._link is not None:
            self._link.connection_lost(exc)
        if self._head_done and self._ends_with_connection() and exc is None:
            self._complete = True
        self._fail(ConnectionLost(str(exc) if exc else "closed by the server"))

    def _ends_with_connection(self) -> bool:
        chunked = "chunked" in self._headers.get("transfer-encoding", "")
        return not chunked and "content-length" not in self._headers

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 and status != SWITCHING:
            self._headers = {}
            return
        self._head_done = True
        self._keep_alive = self._parser.should_keep_alive()
        self._changed.set()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered_bytes += len(body)
        self._flow()
        self._changed.set()

    def on_message_complete(self) -> None:
        self._complete = self._head_done
        self._changed.set()
