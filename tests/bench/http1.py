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
        self._begin(b"")
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def _begin(self, rest: bytes) -> None:
        self._pieces, self._held = [rest], len(rest)
        self._head, self._size = b"", -1

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
        """Large bodies come in many pieces: they are joined once, when all of them are there."""
        self._pieces.append(data)
        self._held += len(data)
        if self._size < 0 and not self._headed():
            return
        if self._held >= self._size and self._answer is not None:
            whole, status, answer = b"".join(self._pieces), int(self._head[9:12]), self._answer
            body = whole[: self._size]
            self._begin(whole[self._size :])
            answer.set_result((status, body))

    def _headed(self) -> bool:
        """Whether the head is complete; what follows it is kept."""
        head, end, rest = b"".join(self._pieces).partition(b"\r\n\r\n")
        if not end:
            return False
        self._head = head.lower()
        start = self._head.find(b"content-length:")
        if start < 0:
            raise ValueError(f"not understood: {self._head!r}")
        self._size = int(self._head[start + 15 :].split(b"\r\n", 1)[0])
        self._pieces, self._held = [rest], len(rest)
        return True

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
