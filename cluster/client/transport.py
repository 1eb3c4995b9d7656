"""Requests to whichever of several equal servers answers: timeouts, failover, streams."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from actors.seams import Seams
from cluster.client.connection import Connection, ConnectionLost
from cluster.client.errors import Closed, UnknownOutcome, Unreachable
from cluster.client.pool import Pool, Server
from cluster.client.timeouts import timeout

T = TypeVar("T")


@dataclass(frozen=True)
class Response:
    """A whole answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Request:
    """One HTTP request; `target` is path and query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def idempotent(self) -> bool:
        """Whether repeating it is harmless. A repeated PUT may conflict with itself."""
        return self.method in ("GET", "HEAD", "OPTIONS")

    def encode(self, server: Server) -> bytes:
        """The bytes of HTTP/1.1. Raises ValueError for line breaks in the head."""
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: {server.host}:{server.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method not in ("GET", "HEAD"):
            lines.append(f"Content-Length: {len(self.body)}")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("line break in a request header")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class Stream:
    """An answer that is read piece by piece. Close it when done, whatever happened."""

    def __init__(
        self, status: int, headers: dict[str, str], connection: Connection, pool: Pool
    ) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._pool: Pool | None = pool

    async def chunks(self) -> AsyncIterator[bytes]:
        """Pieces as they arrive. Raises UnknownOutcome if the connection breaks."""
        while True:
            try:
                data = await self._connection.chunk()
            except ConnectionLost as error:
                raise UnknownOutcome(f"stream broken: {error}") from error
            if not data:
                return
            yield data

    async def read(self) -> bytes:
        """All that remains."""
        return b"".join([data async for data in self.chunks()])

    def close(self) -> None:
        if self._pool is not None:
            self._pool.release(self._connection)
            self._pool = None


class _Endpoint:
    """One server: streams have connections of their own, so that they cannot starve requests."""

    def __init__(self, url: str, seams: Seams, tls: ssl.SSLContext | None) -> None:
        server = Server.parse(url)
        self.requests = Pool(server, seams, tls, limit=32)
        self.streams = Pool(server, seams, tls, limit=512)

    def close(self) -> None:
        self.requests.close()
        self.streams.close()


class Transport:
    """Keeps to one server while it answers, and moves to the next one when it does not."""

    def __init__(self, urls: Sequence[str], seams: Seams, tls: ssl.SSLContext | None) -> None:
        if not urls:
            raise ValueError("no server given")
        self._seams = seams
        self._endpoints = [_Endpoint(url, seams, tls) for url in urls]
        self._current = seams.randomness.randrange(len(urls))
        self._closed = False

    async def request(self, request: Request, timeout_s: float) -> Response:
        """The whole answer. Raises Unreachable (not sent) or UnknownOutcome (sent)."""

        async def attempt(endpoint: _Endpoint) -> Response:
            stream = await self._exchange(endpoint.requests, request, timeout_s)
            try:
                async with timeout(self._seams.clock, timeout_s):
                    return Response(stream.status, stream.headers, await stream.read())
            except TimeoutError as error:
                raise UnknownOutcome(f"no whole answer in {timeout_s} s") from error
            finally:
                stream.close()

        return await self._with_failover(attempt, request.idempotent)

    async def stream(self, request: Request, timeout_s: float) -> Stream:
        """The answer's head within `timeout_s`; its body without a limit of time."""

        async def attempt(endpoint: _Endpoint) -> Stream:
            return await self._exchange(endpoint.streams, request, timeout_s)

        return await self._with_failover(attempt, request.idempotent)

    async def close(self) -> None:
        self._closed = True
        for endpoint in self._endpoints:
            endpoint.close()

    async def _with_failover(
        self, attempt: Callable[[_Endpoint], Awaitable[T]], idempotent: bool
    ) -> T:
        """Twice with a single server, since a kept connection may have gone stale unnoticed."""
        failure: Exception = Closed("the client is closed")
        for _ in range(max(2, len(self._endpoints))):
            if self._closed:
                raise Closed("the client is closed")
            position = self._current
            answered = False
            try:
                result = await attempt(self._endpoints[position])
                answered = True
                return result
            except Unreachable as error:
                failure = error
            except UnknownOutcome as error:
                if not idempotent:
                    raise
                failure = error
            finally:
                # Also on cancellation: who gives up on a silent server should not meet it again.
                if not answered and self._current == position:
                    self._current = (position + 1) % len(self._endpoints)
        raise failure

    async def _exchange(self, pool: Pool, request: Request, timeout_s: float) -> Stream:
        sent = False
        connection: Connection | None = None
        data = request.encode(pool.server)
        try:
            async with timeout(self._seams.clock, timeout_s):
                connection = await pool.acquire()
                connection.send(data)
                sent = True
                status, headers = await connection.head()
            return Stream(status, headers, connection, pool)
        except BaseException as error:
            if connection is not None:
                connection.close()
                pool.release(connection)
            if isinstance(error, TimeoutError | ConnectionLost):
                kind = UnknownOutcome if sent else Unreachable
                reason = str(error) or f"no answer in {timeout_s} s"
                raise kind(f"{pool.server.url}: {reason}") from error
            raise
