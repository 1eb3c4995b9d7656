"""WATCH over a WebSocket: an event is a message, of text in JSON and binary in protobuf."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from cluster.apiserver.handlers import sockets
from cluster.apiserver.http.messages import Request, Stream, chunk
from cluster.streaming.websocket import WebSocket

BASE64 = "base64.binary.k8s.io"
HELD_BYTES = 256 * 1024
"""More than this is not asked from the cache before the client has read some of it."""
PREFIX_BYTES = 4
"""Of an event's length, before each one in protobuf; a message needs none."""


async def serve(request: Request, run: Callable[[Stream], Awaitable[None]], binary: bool) -> None:
    """Have `run` write to the socket until it is done or the client leaves. 400 for a bad
    handshake; raises ConnectionError."""
    link, protocol = sockets.accept(request, (BASE64,))
    socket = WebSocket(link)
    stream = SocketStream(socket, link.abort, _Form(binary, protocol == BASE64))
    try:
        await sockets.while_open(socket, link, stream.follow(run))
    finally:
        stream.end()


class _Form:
    """How a message looks."""

    def __init__(self, binary: bool, encoded: bool) -> None:
        self._binary, self._encoded = binary, encoded

    async def send(self, socket: WebSocket, event: bytes) -> None:
        data = event[PREFIX_BYTES:] if self._binary else event
        if self._encoded:
            await socket.send_text(base64.b64encode(data))
        elif self._binary:
            await socket.send(data)
        else:
            await socket.send_text(data)


class SocketStream:
    """A `messages.Stream`: what is framed as chunks for all watchers is sent as messages."""

    def __init__(self, socket: WebSocket, abort: Callable[[], None], form: _Form) -> None:
        self._socket, self._form = socket, form
        self.abort = abort
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: deque[bytes] = deque()
        self._held_bytes = 0
        self._callbacks: list[Callable[[], None]] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def follow(self, run: Callable[[Stream], Awaitable[None]]) -> None:
        """Send what `run` writes; all of it, once that has ended. Raises ConnectionError."""
        sending = asyncio.create_task(self._send())
        writing = asyncio.ensure_future(run(self))
        try:
            await asyncio.wait([sending, writing], return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
                await self.drain()
                await self._socket.close()
        finally:
            self.end()
            for task in (sending, writing):
                task.cancel()
            await asyncio.gather(sending, writing, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            await self._work.wait()
            while self._waiting:
                event = self._waiting.popleft()
                await self._form.send(self._socket, event)
                self._held_bytes -= len(event)
            self._work.clear()
            self._idle.set()
            for callback in list(self._callbacks):
                callback()

    def end(self) -> None:
        """Nobody reads any more."""
        if not self.closed.done():
            self.closed.set_result(None)

    # ---- as a stream

    @property
    def writable(self) -> bool:
        return self._held_bytes < HELD_BYTES

    def on_writable(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def write(self, data: bytes) -> None:
        self.write_chunks(chunk(data))

    def write_chunks(self, framed: bytes) -> None:
        for event in unframed(framed):
            self._waiting.append(event)
            self._held_bytes += len(event)
        self._idle.clear()
        self._work.set()

    async def drain(self) -> None:
        idle = asyncio.create_task(self._idle.wait())
        ends: list[asyncio.Future[Any]] = [idle, self.closed]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
        if self.closed.done():
            raise ConnectionResetError("the client went away")


def unframed(framed: bytes) -> Iterator[bytes]:
    """What `messages.chunk` was given, piece by piece."""
    start = 0
    while start < len(framed):
        end = framed.index(b"\r\n", start)
        size = int(framed[start:end], 16)
        yield framed[end + 2 : end + 2 + size]
        start = end + 2 + size + 2
