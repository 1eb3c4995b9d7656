"""Remote commands over WebSocket: the first byte of each message says which stream it is of."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json

from cluster.kubelet.streams.client import Size, parse_size
from cluster.kubelet.streams.statuses import Status
from cluster.streaming.link import Link
from cluster.streaming.websocket import NORMAL, PROTOCOL_ERROR, Piece, WebSocket

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5 = "v5.channel.k8s.io"
PROTOCOLS = (
    V5,
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
_TEXT_BYTES_MAX = 1 << 20
_SHORT_BYTES_MAX = 1024
_QUEUED = 4


class WebSocketCommandClient:
    def __init__(self, link: Link, protocol: str) -> None:
        self._protocol = protocol
        self._base64 = "base64" in protocol
        self._socket = WebSocket(link)
        self._input: asyncio.Queue[bytes] = asyncio.Queue(_QUEUED)
        self._input_ended = False
        self._size: Size | None = None
        self._resized = asyncio.Event()
        self._channel: int | None = None
        self._held = b""
        self._reading = asyncio.create_task(self._read(), name="websocket")

    async def opened(self) -> None:
        """All channels are there from the start; an empty message tells the client so."""
        await self._send(STDOUT, b"")

    async def _read(self) -> None:
        try:
            while (piece := await self._socket.receive()) is not None:
                await self._take(piece)
        except (ConnectionError, binascii.Error):
            await self._refuse()
        finally:
            self._resized.set()

    async def _refuse(self) -> None:
        try:
            await self._socket.close(PROTOCOL_ERROR, "malformed message")
        except ConnectionError:
            return

    async def _take(self, piece: Piece) -> None:
        """Input is passed on as it comes; what is short, or in base64, is put together first."""
        data = piece.data
        if self._channel is None and data:
            self._channel, data = data[0], data[1:]
        if self._channel is None:
            return
        if self._base64 or self._channel != STDIN:
            self._held += data
            if len(self._held) > (_TEXT_BYTES_MAX if self._base64 else _SHORT_BYTES_MAX):
                raise ConnectionResetError("a message is too large")
            data, self._held = (self._held, b"") if piece.last else (b"", self._held)
        if data and self._base64:
            self._channel -= ord("0") if self._channel >= ord("0") else 0
            data = base64.b64decode(data, validate=True)
        if data:
            await self._deliver(self._channel, data)
        if piece.last:
            self._channel = None

    async def _deliver(self, channel: int, data: bytes) -> None:
        if channel == STDIN:
            await self._input.put(data)
        elif channel == RESIZE:
            self._size = parse_size(data) or self._size
            self._resized.set()
        elif channel == CLOSE and data[0] == STDIN and self._protocol == V5:
            await self._input.put(b"")

    async def read_input(self) -> bytes:
        """Before v5 input cannot be closed: it goes on until the client leaves."""
        if self._input_ended:
            return b""
        data = await self._input.get()
        self._input_ended = not data
        return data

    async def write_output(self, data: bytes, *, error: bool) -> None:
        await self._send(STDERR if error else STDOUT, data)

    async def _send(self, channel: int, data: bytes) -> None:
        if self._base64:
            await self._socket.send_text(b"%d%s" % (channel, base64.b64encode(data)))
        else:
            await self._socket.send(bytes([channel]) + data)

    async def next_size(self) -> Size | None:
        while self._size is None:
            if self._reading.done():
                return None
            self._resized.clear()
            await self._resized.wait()
        size, self._size = self._size, None
        return size

    async def finish(self, status: Status) -> None:
        """Before v4 only a failure is told, in words."""
        if self._protocol.startswith(("v4", "v5")):
            await self._send(ERROR, json.dumps(status).encode())
        elif status["status"] != "Success":
            await self._send(ERROR, status["message"].encode())
        await self._socket.close(NORMAL)

    async def ping(self) -> None:
        await self._socket.ping()

    async def left(self) -> None:
        await asyncio.wait([self._reading])

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
