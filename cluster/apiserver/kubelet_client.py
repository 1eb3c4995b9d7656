"""Requests to kubelets: a small HTTP/1.1 client that streams what it reads, with back-pressure."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast
from urllib.parse import urlencode

import httptools

from actors.seams import Seams
from actors.tls import client_context

CONNECT_TIMEOUT_S = 10.0
HEAD_TIMEOUT_S = 30.0
HIGH_WATER_CHUNKS = 64


class KubeletError(Exception):
    """The kubelet could not be reached, or broke off before it had answered."""


class Answer:
    """Status and body of a kubelet's answer; iterate over `chunks`, and `close` in any case."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    @property
    def status(self) -> int:
        return self._exchange.status

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises KubeletError if it breaks off."""
        while (piece := await self._exchange.next()) is not None:
            yield piece

    def close(self) -> None:
        self._exchange.close()


class KubeletClient:
    """Dials one connection a request: logs are rare, and streams may stay open for hours."""

    def __init__(self, seams: Seams, tls: Mapping[str, str] | None) -> None:
        self._seams = seams
        self.tls: ssl.SSLContext | None = client_context(tls) if tls else None

    async def get(self, host: str, port: int, path: str, query: Mapping[str, str]) -> Answer:
        """Send a GET and wait for the head of the answer."""
        target = f"{path}?{urlencode(query)}" if query else path
        exchange = await self._dial(host, port)
        exchange.send(f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n")
        try:
            await asyncio.wait_for(asyncio.shield(exchange.head), HEAD_TIMEOUT_S)
        except TimeoutError:
            exchange.close()
            raise KubeletError("the kubelet did not answer in time") from None
        except BaseException:
            exchange.close()
            raise
        return Answer(exchange)

    async def _dial(self, host: str, port: int) -> _Exchange:
        connecting = self._seams.network.connect(
            host, port, _Exchange, tls=self.tls, server_name=host
        )
        try:
            _, exchange = await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            raise KubeletError(f"dial tcp {host}:{port}: {error or 'timed out'}") from error
        assert isinstance(exchange, _Exchange)
        return exchange


class _Exchange(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._complete = False
        self._ends_with_connection = True
        self._paused = False
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self.head: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.head.done():
            self.head.set_exception(KubeletError("the kubelet closed the connection"))
        if exc is None and self.status and self._ends_with_connection:
            self._complete = True
        self._queue.put_nowait(None)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._ends_with_connection = False

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status >= 200 and not self.head.done():
            self.head.set_result(None)

    def on_body(self, data: bytes) -> None:
        self._queue.put_nowait(data)
        if self._queue.qsize() >= HIGH_WATER_CHUNKS and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self._complete = True
            self._queue.put_nowait(None)

    def send(self, text: str) -> None:
        self._transport.write(text.encode())

    async def next(self) -> bytes | None:
        """The next piece of the body, or None at its end."""
        piece = await self._queue.get()
        if self._paused and self._queue.qsize() < HIGH_WATER_CHUNKS // 2:
            self._paused = False
            self._transport.resume_reading()
        if piece is None and not self._complete:
            raise KubeletError("the kubelet broke off its answer")
        return piece

    def close(self) -> None:
        if self.head.done() and not self.head.cancelled():
            self.head.exception()
        self._transport.abort()
