"""Port-forward over WebSocket without SPDY: for each port in the query a data and an error channel.

Channel 2n carries the data of port n, 2n+1 its error; the first message of each, sent by us, is
the port as two bytes, little endian. Ends cannot be told apart from the end of the connection.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
from collections.abc import Sequence
from typing import Any

from actors.seams.clock import Clock
from cluster.kubelet.streams.port_forward import Dial, Refused, carry
from cluster.kubelet.streams.remote_command import PING_S
from cluster.streaming.link import Link
from cluster.streaming.websocket import Piece, WebSocket

PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
PORTS_MAX = 64
_TEXT_BYTES_MAX = 1 << 20
_QUEUED = 4


class _Channel:
    def __init__(self, owner: WebSocketPortForward, number: int) -> None:
        self._owner, self._number = owner, number
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue(_QUEUED)

    async def read(self) -> bytes:
        return await self.arrived.get()

    async def write(self, data: bytes) -> None:
        await self._owner.send(self._number, data)

    async def finish(self) -> None:
        """There is no way to say so."""


class WebSocketPortForward:
    def __init__(
        self, link: Link, protocol: str, ports: Sequence[int], dial: Dial, clock: Clock
    ) -> None:
        self._base64 = "base64" in protocol
        self._socket = WebSocket(link)
        self._ports, self._dial, self._clock = ports, dial, clock
        self._channels = {2 * n: _Channel(self, 2 * n) for n in range(len(ports))}
        self._channel: int | None = None
        self._held = b""

    async def run(self) -> None:
        """Until the client leaves, or all ports have ended."""
        reading = asyncio.create_task(self._read())
        pinging = asyncio.create_task(self._pings())
        forwards: asyncio.Future[list[None]] = asyncio.gather(
            *(self._forward(n) for n in range(len(self._ports)))
        )
        waited: list[asyncio.Future[Any]] = [reading, forwards]
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if forwards.done():
                await self._socket.close()
        finally:
            for task in (reading, pinging, forwards):
                task.cancel()
            await asyncio.gather(reading, pinging, forwards, return_exceptions=True)

    async def _pings(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._clock.sleep(PING_S)
                await self._socket.ping()

    async def _forward(self, index: int) -> None:
        port = struct.pack("<H", self._ports[index])
        await self.send(2 * index, port)
        await self.send(2 * index + 1, port)
        try:
            pod = await self._dial(self._ports[index])
        except Refused as refused:
            await self.send(2 * index + 1, str(refused).encode())
            return
        await carry(self._channels[2 * index], pod)

    async def _read(self) -> None:
        while (piece := await self._socket.receive()) is not None:
            await self._take(piece)

    async def _take(self, piece: Piece) -> None:
        data = piece.data
        if self._channel is None and data:
            self._channel, data = data[0], data[1:]
        if self._base64:
            self._held += data
            if len(self._held) > _TEXT_BYTES_MAX:
                raise ConnectionResetError("a message is too large")
            data = b""
            if piece.last and self._channel is not None:
                data, self._held = base64.b64decode(self._held), b""
                self._channel -= ord("0")
        if data and self._channel in self._channels:
            await self._channels[self._channel].arrived.put(data)
        if piece.last:
            self._channel = None

    async def send(self, channel: int, data: bytes) -> None:
        if self._base64:
            text = bytes([ord("0") + channel]) + base64.b64encode(data)
            await self._socket.send_text(text)
        else:
            await self._socket.send(bytes([channel]) + data)
