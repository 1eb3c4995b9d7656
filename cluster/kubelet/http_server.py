"""A small HTTP/1.1 server for the kubelet: one request a connection, streamed answers, upgrades."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, unquote

import httptools

from cluster.streaming.link import Link

log = logging.getLogger(__name__)

_HEAD_SIZE_BYTES_MAX = 64 * 1024
_HEAD_TIMEOUT_S = 10.0
_REASONS = {
    101: "Switching Protocols",
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True)
class Request:
    """`query` has the last value of each parameter, `values` all of them; header names are in
    lower case, and those that came several times are joined with commas."""

    method: str
    path: str
    query: dict[str, str]
    peer: Mapping[str, Any] | None = None
    """The client's certificate, as `ssl.getpeercert` tells it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """`body` is sent in chunks as it comes."""

    status: int
    body: AsyncIterator[bytes]
    content_type: str = "text/plain"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Upgrade:
    """Another protocol takes over: `run` has the connection, which is closed when it returns."""

    headers: Mapping[str, str]
    run: Callable[[Link], Awaitable[None]]


Handler = Callable[[Request], Awaitable[Response | Upgrade]]


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Connection(asyncio.Protocol):
    """Serves one request and closes. The client's leaving cancels the answer."""

    def __init__(self, handler: Handler, open_ones: set[Connection] | None = None) -> None:
        """`open_ones` has this connection in it as long as there is something to end."""
        self._handler = handler
        self._open_ones = set() if open_ones is None else open_ones
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._size = 0
        self._rest = b""
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open_ones.add(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_HEAD_TIMEOUT_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._link is not None:
            self._link.data_received(data)
            return
        self._size += len(data)
        if self._size > _HEAD_SIZE_BYTES_MAX:
            self._transport.abort()
            return
        if self._task is not None:
            self._rest += data  # sent before the upgrade was answered
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._rest = data[upgrade.args[0] :]
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_message_complete(self) -> None:
        if self._task is None:
            self._timer.cancel()
            self._task = asyncio.create_task(self._answer(), name="kubelet request")
            self._task.add_done_callback(lambda _: self._open_ones.discard(self))

    def pause_writing(self) -> None:
        self._can_write.clear()
        if self._link is not None:
            self._link.pause_writing()

    def resume_writing(self) -> None:
        self._can_write.set()
        if self._link is not None:
            self._link.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self._task is None:
            self._open_ones.discard(self)
        self._can_write.set()
        if self._link is not None:
            self._link.connection_lost(exc)  # what runs on it ends by itself, in order
        elif self._task is not None:
            self._task.cancel()

    async def abort(self) -> None:
        """End the connection, and what is done for it."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _answer(self) -> None:
        request = self._request()
        try:
            response = await self._handler(request)
        except Exception:
            log.exception("kubelet request %s failed", request.path)
            response = Response(500, once(b"internal error\n"))
        if isinstance(response, Upgrade):
            await self._upgrade(response, request.path)
        else:
            await self._send(response)

    def _request(self) -> Request:
        target = httptools.parse_url(self._url)
        values = parse_qs((target.query or b"").decode(), keep_blank_values=True)
        return Request(
            self._parser.get_method().decode(),
            unquote(target.path.decode()),
            {key: given[-1] for key, given in values.items()},
            self._transport.get_extra_info("peercert") or None,
            self._headers,
            values,
        )

    async def _upgrade(self, response: Upgrade, path: str) -> None:
        self._transport.write(_head(101, response.headers))
        link = Link()
        link.connection_made(self._transport)
        self._link = link
        if self._rest:
            link.data_received(self._rest)
        try:
            await response.run(link)
        except (ConnectionError, TimeoutError) as error:
            log.info("%s: the stream broke off: %r", path, error)
        except Exception:
            log.exception("kubelet stream %s failed", path)
        finally:
            link.close()

    async def _send(self, response: Response) -> None:
        headers = {"content-type": response.content_type, "transfer-encoding": "chunked"}
        headers |= response.headers | {"connection": "close"}
        self._transport.write(_head(response.status, headers))
        try:
            async for chunk in response.body:
                self._transport.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                await self._can_write.wait()
            self._transport.write(b"0\r\n\r\n")
        finally:
            with contextlib.suppress(RuntimeError):
                await response.body.aclose()  # type: ignore[attr-defined]
            self._transport.close()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\n{lines}\r\n".encode()
