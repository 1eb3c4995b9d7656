"""A small HTTP/1.1 server for the kubelet: GET only, one request a connection, streamed answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, unquote

import httptools

log = logging.getLogger(__name__)

_HEAD_SIZE_BYTES_MAX = 16 * 1024
_HEAD_TIMEOUT_S = 10.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    peer: Mapping[str, Any] | None = None
    """The client's certificate, as `ssl.getpeercert` tells it."""


@dataclass(frozen=True)
class Response:
    """`body` is sent in chunks as it comes."""

    status: int
    body: AsyncIterator[bytes]
    content_type: str = "text/plain"
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Connection(asyncio.Protocol):
    """Serves one request and closes. The client's leaving cancels the answer."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._size = 0
        self._task: asyncio.Task[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_HEAD_TIMEOUT_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        if self._task is not None:
            return
        if self._size > _HEAD_SIZE_BYTES_MAX:
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        self._timer.cancel()
        self._task = asyncio.create_task(self._answer(), name="kubelet request")

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._can_write.set()
        if self._task is not None:
            self._task.cancel()

    async def _answer(self) -> None:
        target = httptools.parse_url(self._url)
        query = parse_qs((target.query or b"").decode(), keep_blank_values=True)
        request = Request(
            self._parser.get_method().decode(),
            unquote(target.path.decode()),
            {key: values[-1] for key, values in query.items()},
            self._transport.get_extra_info("peercert") or None,
        )
        try:
            response = await self._handler(request)
        except Exception:
            log.exception("kubelet request %s failed", request.path)
            response = Response(500, once(b"internal error\n"))
        await self._send(response)

    async def _send(self, response: Response) -> None:
        reason = _REASONS.get(response.status, "Error")
        headers = {"content-type": response.content_type, "transfer-encoding": "chunked"}
        headers |= response.headers | {"connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"HTTP/1.1 {response.status} {reason}\r\n{head}\r\n".encode())
        try:
            async for chunk in response.body:
                self._transport.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                await self._can_write.wait()
            self._transport.write(b"0\r\n\r\n")
        finally:
            with contextlib.suppress(RuntimeError):
                await response.body.aclose()  # type: ignore[attr-defined]
            self._transport.close()
