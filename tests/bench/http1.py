"""A cheap load generator for HTTP/1.1: requests are bytes; of answers only the end is found."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable

from figures import Load, load_of


class Http1(asyncio.Protocol):
    """One connection with one request in flight. `call` gives status and body."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._head = b""
        self._size = -1

    @classmethod
    async def connect(cls, host: str, port: int, context: ssl.SSLContext) -> Http1:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, host, port, ssl=context)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    async def call(self, request: bytes) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[attr-defined]
        return await self._answer

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        if self._size < 0:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head, self._buffer = buffer[:end].lower(), buffer[end + 4 :]
            start = self._head.find(b"content-length:")
            if start < 0:
                raise ValueError(f"not understood: {self._head!r}")
            self._size = int(self._head[start + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) >= self._size and self._answer is not None:
            body, self._buffer = self._buffer[: self._size], self._buffer[self._size :]
            self._size, answer = -1, self._answer
            answer.set_result((int(self._head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed"))


async def run_all(links: list[Http1], requests: Iterable[bytes], expected: int) -> Load:
    """All requests, each connection one after another; ValueError for an unexpected status."""
    latencies_s: list[float] = []
    pending = iter(requests)
    begun_s = time.perf_counter()

    async def work(link: Http1) -> None:
        for request in pending:
            start_s = time.perf_counter()
            status, body = await link.call(request)
            if status != expected:
                raise ValueError(f"{status}: {body[:300]!r}")
            latencies_s.append(time.perf_counter() - start_s)

    await asyncio.gather(*map(work, links))
    return load_of(latencies_s, time.perf_counter() - begun_s)
