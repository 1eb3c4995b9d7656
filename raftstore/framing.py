"""Length-prefixed msgpack frames on a byte stream: the form of every link of the store."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, cast

from raftstore import wire
from raftstore.errors import InvalidRequest

MAX_FRAME_BYTES = 64 << 20
_LENGTH = struct.Struct(">I")


class FrameProtocol(asyncio.Protocol):
    """Splits a stream into messages. What breaks the rules loses its connection.

    What is sent in one turn of the loop is written at its end, at once: a system call for each of
    a thousand small answers would cost more than the answers.
    """

    max_frame_bytes = MAX_FRAME_BYTES

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._unwritten: list[bytes] = []
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
        unwritten = self._unwritten
        if not unwritten:
            asyncio.get_running_loop().call_soon(self.flush)
        unwritten += (_LENGTH.pack(len(packed)), packed)

    def flush(self) -> None:
        """Write what was sent in this turn now."""
        unwritten, self._unwritten = self._unwritten, []
        if unwritten and self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(unwritten))

    def close(self) -> None:
        """End the connection once what was sent is written."""
        self.flush()
        if self.transport is not None:
            self.transport.close()

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
        try:
            if self._buffer:
                self._buffer += data
                del self._buffer[: self._split(self._buffer)]
            else:
                self._buffer += memoryview(data)[self._split(data) :]
            self.flushed()
        except InvalidRequest:
            self.abort()

    def _split(self, buffer: bytes | bytearray) -> int:
        """Pass on the whole messages at the start of `buffer`; how many bytes those were."""
        offset, end = 0, len(buffer)
        with memoryview(buffer) as view:
            while end - offset >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(view, offset)
                if size > self.max_frame_bytes:
                    raise InvalidRequest(f"frame of {size} bytes")
                start = offset + _LENGTH.size
                if end - start < size:
                    break
                offset = start + size
                self.received(wire.unpack(view[start:offset]))
        return offset
