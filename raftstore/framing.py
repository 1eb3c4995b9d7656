"""Length-prefixed msgpack frames on a byte stream: the form of every link of the store."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any, cast

from raftstore import wire
from raftstore.errors import InvalidRequest

MAX_FRAME_BYTES = 64 << 20
_LENGTH = struct.Struct(">I")


def frame(message: Any) -> bytes:
    return frame_packed(wire.pack(message))


def frame_packed(packed: bytes) -> bytes:
    return _LENGTH.pack(len(packed)) + packed


class FrameProtocol(asyncio.Protocol):
    """Splits a stream into messages. What breaks the rules loses its connection."""

    max_frame_bytes = MAX_FRAME_BYTES

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self.writable = True

    # ---- for subclasses

    def opened(self) -> None:
        """The connection stands."""

    def received(self, message: Any) -> None:
        """A whole message came. May raise InvalidRequest to end the connection."""
        raise NotImplementedError

    def flushed(self) -> None:
        """All messages of one read were passed to `received`."""

    def closed(self, error: Exception | None) -> None:
        """The connection is gone."""

    # ---- sending

    def send(self, message: Any) -> None:
        self.send_packed(wire.pack(message))

    def send_packed(self, packed: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(frame_packed(packed))

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.closed(exc)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            for message in self._messages():
                self.received(message)
            self.flushed()
        except InvalidRequest:
            self.abort()

    def _messages(self) -> Iterator[Any]:
        offset, buffer = 0, self._buffer
        while len(buffer) - offset >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(buffer, offset)
            if size > self.max_frame_bytes:
                raise InvalidRequest(f"frame of {size} bytes")
            start = offset + _LENGTH.size
            if len(buffer) - start < size:
                break
            offset = start + size
            yield wire.unpack(bytes(buffer[start:offset]))
        del buffer[:offset]
