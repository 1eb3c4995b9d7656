"""Requests and responses as the rest of the API server sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

from cluster.apiserver.http.body import BodyStream
from cluster.streaming.link import Link

if TYPE_CHECKING:
    from cluster.apiserver.audit.recorder import Record

Headers = Mapping[str, str]

REASONS = {
    101: "Switching Protocols",
    200: "OK",
    201: "Created",
    202: "Accepted",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Stream(Protocol):
    """A chunked answer that is being sent. Nothing here waits except `drain`."""

    closed: asyncio.Future[None]
    """Done once the connection is gone, so that a producer can stop."""

    @property
    def writable(self) -> bool:
        """False while the client reads too slowly."""
        ...

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Called each time the client has caught up again."""
        ...

    def write(self, data: bytes) -> None:
        """Send one chunk."""
        ...

    def write_chunks(self, framed: bytes) -> None:
        """Send bytes that `chunk` has framed already; they may be shared by many streams."""
        ...

    def abort(self) -> None:
        """Drop the connection: the client does not read what it asked for."""
        ...

    async def drain(self) -> None:
        """Wait until the client has caught up. Raises ConnectionError if it went away."""
        ...


def chunk(data: bytes) -> bytes:
    """One chunk of chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


TakeOver = Callable[[Headers], Link]
"""Answers 101 with these headers and gives the connection away, until the handler returns.
Raises ConnectionError."""
StreamOpener = Callable[[int, Headers], Stream]


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case. `audit` notes it, unless nobody wants it noted."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    peer_certificate: Mapping[str, object] | None
    open_stream: StreamOpener
    warnings: list[str] = field(default_factory=list)
    peer_address: str = ""
    audit: Record | None = None
    answer_headers: dict[str, str] = field(default_factory=dict)
    raw_path: str = ""
    raw_query: str = ""
    """As they were sent, with their escapes."""
    take_over: TakeOver | None = None
    body_stream: BodyStream | None = None
    """In place of `body`, where it is passed on as it arrives."""
    closed: asyncio.Future[None] | None = None
    """Done once the client has gone."""

    def parameter(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def values(self, header: str) -> list[str]:
        """The values of a header that may be given several times."""
        parts = self.headers.get(header, "").split(",")
        return [part.strip() for part in parts if part.strip()]

    def flag(self, name: str) -> bool:
        """A boolean query parameter, read as Go's strconv.ParseBool reads it."""
        return self.parameter(name) in ("1", "t", "T", "true", "TRUE", "True")


@dataclass(slots=True)
class Response:
    """A whole answer; `body` may be shared bytes and is never changed.

    `rest` follows it: what a long list consists of is sent as it is, and joined nowhere.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    rest: Sequence[bytes] = ()

    @property
    def size_bytes(self) -> int:
        return len(self.body) + sum(map(len, self.rest))

    @property
    def whole(self) -> bytes:
        return b"".join((self.body, *self.rest))


Handler = Callable[[Request], Awaitable[Response | None]]
"""None: the handler has answered by a stream, which ends when it returns."""


def parse_query(text: str) -> dict[str, list[str]]:
    """All values of each parameter, in order; empty values are kept."""
    query: dict[str, list[str]] = {}
    if text:
        for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=256):
            query.setdefault(name, []).append(value)
    return query


def encode_head(status: int, headers: Headers) -> bytes:
    """Status line and headers. Values are stripped of line breaks: they may quote input."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{k}: {v}".replace("\r", " ").replace("\n", " ") for k, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")
