"""Requests to whichever of several equal servers answers: timeouts, failover, streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from actors.seams import Seams
from cluster.client.connection import Connection, ConnectionLost
from cluster.client.errors import ClientError, Closed, UnknownOutcome, Unreachable
from cluster.client.pool import Pool, Server
from cluster.client.term import Term
from cluster.client.timeouts import timeout

T = TypeVar("T", "Response", "Stream")

SILENT_S = 5.0
"""A read that gets no answer for so long is tried at another server, if there is one."""
PROBE = "/livez"
PROBE_S = 2.0
NOT_CARRIED_OUT = 408
"""The server closes the connection, and has not looked at what came last (RFC 9110, 15.5.9)."""


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
    term: Term | None = None
    """Send it only while this goes on."""

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
        self.probing: asyncio.Task[None] | None = None

    def close(self) -> None:
        if self.probing is not None:
            self.probing.cancel()
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

        async def attempt(endpoint: _Endpoint, head_s: float) -> Response:
            stream = await self._exchange(endpoint, endpoint.requests, request, head_s)
            try:
                async with timeout(self._seams.clock, timeout_s):
                    return Response(stream.status, stream.headers, await stream.read())
            except TimeoutError as error:
                raise UnknownOutcome(f"no whole answer in {timeout_s} s") from error
            finally:
                stream.close()

        return await self._with_failover(attempt, request.idempotent, timeout_s)

    async def stream(self, request: Request, timeout_s: float) -> Stream:
        """The answer's head within `timeout_s`; its body without a limit of time."""

        async def attempt(endpoint: _Endpoint, head_s: float) -> Stream:
            return await self._exchange(endpoint, endpoint.streams, request, head_s)

        return await self._with_failover(attempt, request.idempotent, timeout_s)

    def reconnect(self) -> None:
        """Use new connections: requests end on theirs, streams are broken off."""
        for endpoint in self._endpoints:
            endpoint.requests.retire()
            endpoint.streams.drop()

    async def close(self) -> None:
        self._closed = True
        for endpoint in self._endpoints:
            endpoint.close()

    async def _with_failover(
        self,
        attempt: Callable[[_Endpoint, float], Awaitable[T]],
        idempotent: bool,
        timeout_s: float,
    ) -> T:
        """Twice with a single server, since a kept connection may have gone stale unnoticed."""
        failure: Exception = Closed("the client is closed")
        refusal: T | None = None
        attempts = max(2, len(self._endpoints))
        for number in range(attempts):
            if self._closed:
                raise Closed("the client is closed")
            position = self._current
            answered = False
            try:
                impatient = idempotent and number + 1 < attempts and len(self._endpoints) > 1
                head_s = min(timeout_s, SILENT_S) if impatient else timeout_s
                result = await attempt(self._endpoints[position], head_s)
                _discard(refusal)
                if not _elsewhere(result) or len(self._endpoints) == 1:
                    answered = True
                    return result
                refusal = result
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
        if refusal is not None:
            return refusal
        raise failure

    async def _exchange(
        self, endpoint: _Endpoint, pool: Pool, request: Request, timeout_s: float
    ) -> Stream:
        sent = False
        connection: Connection | None = None
        data = request.encode(pool.server)
        try:
            async with timeout(self._seams.clock, timeout_s):
                connection = await pool.acquire()
                if request.term is not None:
                    request.term.check()
                connection.send(data)
                sent = True
                status, headers = await connection.head()
            if status == NOT_CARRIED_OUT:
                sent = False
                raise ConnectionLost("the server closes the connection")
            return Stream(status, headers, connection, pool)
        except BaseException as error:
            if connection is not None:
                connection.close()
                pool.release(connection)
            if isinstance(error, TimeoutError):
                self._suspect(endpoint)
            if isinstance(error, TimeoutError | ConnectionLost):
                kind = UnknownOutcome if sent else Unreachable
                reason = str(error) or f"no answer in {timeout_s} s"
                raise kind(f"{pool.server.url}: {reason}") from error
            raise

    # ---- servers that have gone silent

    def _suspect(self, endpoint: _Endpoint) -> None:
        """A frozen server ends nothing: who follows it would wait for long."""
        if endpoint.probing is None and len(self._endpoints) > 1 and not self._closed:
            endpoint.probing = asyncio.get_running_loop().create_task(self._probe(endpoint))

    async def _probe(self, endpoint: _Endpoint) -> None:
        probe = Request("GET", PROBE, {"User-Agent": "raykube"})
        try:
            stream = await self._exchange(endpoint, endpoint.requests, probe, PROBE_S)
            stream.close()
        except ClientError:
            endpoint.streams.drop()
        finally:
            endpoint.probing = None


def _discard(answer: Response | Stream | None) -> None:
    if isinstance(answer, Stream):
        answer.close()


def _elsewhere(answer: Response | Stream) -> bool:
    """Whether another server may do better: this one has done nothing and asks to come again."""
    return answer.status == 503 and "retry-after" in answer.headers
