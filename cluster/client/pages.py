"""What a component that only calls out tells who asks: `/metrics` and `/healthz` over HTTPS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import cast

from actors import tls
from actors.seams import Seams
from actors.seams.network import Listener

Page = Callable[[], str]
MAX_HEAD_BYTES = 16 << 10
TIMEOUT_S = 10.0
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Pages:
    """Serves texts by path, to whom has a certificate of the cluster's authority."""

    def __init__(self, seams: Seams, pages: Mapping[str, Page]) -> None:
        self._seams, self._pages = seams, pages
        self._listener: Listener | None = None

    async def start(self, address: str, files: Mapping[str, str]) -> str:
        """Listen on `host:port` (port 0: any); where it is reached."""
        host, _, port = address.rpartition(":")
        context = tls.server_context(files)
        self._listener = await self._seams.network.listen(
            host, int(port), lambda: _Exchange(self), tls=context
        )
        return f"{host}:{self._listener.port}"

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.close()

    def answer(self, head: bytes) -> bytes:
        """The whole answer to the head of a request."""
        parts = head.split(b" ", 2)
        path = parts[1].split(b"?")[0].decode("latin-1") if len(parts) == 3 else ""
        if parts[0] != b"GET":
            return _response("405 Method Not Allowed", "only GET\n")
        if path not in self._pages:
            return _response("404 Not Found", f"there are {', '.join(self._pages)}\n")
        return _response("200 OK", self._pages[path]())

    def timer(self, callback: Callable[[], None]) -> None:
        self._seams.clock.call_later(TIMEOUT_S, callback)


class _Exchange(asyncio.Protocol):
    """One request, one answer."""

    def __init__(self, pages: Pages) -> None:
        self._pages, self._head = pages, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pages.timer(self._transport.close)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            self._transport.write(self._pages.answer(self._head))
            self._transport.close()
        elif len(self._head) > MAX_HEAD_BYTES:
            self._transport.abort()


def _response(status: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {TEXT}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
