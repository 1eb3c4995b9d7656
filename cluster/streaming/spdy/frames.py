"""Frames of SPDY/3.1 to bytes and back. Header blocks stay packed: they need the connection."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.streaming.spdy.errors import SpdyError

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = (
    1, 2, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
FIN = 1
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5
CONTROL_SIZE_BYTES_MAX = 16 * 1024
"""Larger control frames have no use here."""
DATA_SIZE_BYTES_MAX = (1 << 24) - 1
_HEAD = struct.Struct("!II")
_CONTROL = 0x80000000
_ID = 0x7FFFFFFF
_LEAST = {SYN_STREAM: 10, SYN_REPLY: 4, RST_STREAM: 8, PING: 4, GOAWAY: 8, HEADERS: 4,
          WINDOW_UPDATE: 8}  # fmt: skip
"""Payload bytes that a frame must have at least."""


@dataclass(frozen=True, slots=True)
class Control:
    """`type` is one of the constants above, or unknown to us."""

    type: int
    flags: int
    payload: bytes

    def number(self, at: int = 0) -> int:
        """The 32 bits at an offset of the payload, without the reserved first bit."""
        found: int = struct.unpack_from("!I", self.payload, at)[0]
        return found & _ID


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of a data frame; `last` ends the stream. A long frame comes in several."""

    stream_id: int
    data: bytes
    last: bool


Frame = Control | Data


class FrameReader:
    """Takes bytes in any cut. Control frames are held until whole, data is passed on at once."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._stream_id = 0
        self._left = 0
        self._last = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Raises SpdyError for what is no SPDY/3 or too large."""
        self._held += data
        while True:
            frame = self._rest_of_data() if self._left else self._next()
            if frame is None:
                return
            yield frame

    def _rest_of_data(self) -> Data | None:
        if not self._held:
            return None
        piece = bytes(self._held[: self._left])
        del self._held[: len(piece)]
        self._left -= len(piece)
        return Data(self._stream_id, piece, self._last and not self._left)

    def _next(self) -> Frame | None:
        if len(self._held) < _HEAD.size:
            return None
        first, second = _HEAD.unpack_from(self._held)
        flags, size = second >> 24, second & DATA_SIZE_BYTES_MAX
        if first & _CONTROL:
            return self._control(first, flags, size)
        del self._held[: _HEAD.size]
        self._stream_id, self._left, self._last = first & _ID, size, bool(flags & FIN)
        return self._rest_of_data() if size else Data(self._stream_id, b"", self._last)

    def _control(self, first: int, flags: int, size: int) -> Control | None:
        version, kind = (first >> 16) & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise SpdyError(f"version {version} instead of {VERSION}")
        if not _LEAST.get(kind, 0) <= size <= CONTROL_SIZE_BYTES_MAX:
            raise SpdyError(f"a control frame of type {kind} with {size} bytes")
        end = _HEAD.size + size
        if len(self._held) < end:
            return None
        payload = bytes(self._held[_HEAD.size : end])
        del self._held[:end]
        return Control(kind, flags, payload)


def control(kind: int, flags: int, payload: bytes) -> bytes:
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, flags << 24 | len(payload)) + payload


def data(stream_id: int, payload: bytes, *, last: bool = False) -> bytes:
    return _HEAD.pack(stream_id, (FIN if last else 0) << 24 | len(payload)) + payload


def syn_stream(stream_id: int, block: bytes, *, last: bool = False) -> bytes:
    payload = struct.pack("!IIH", stream_id, 0, 0) + block
    return control(SYN_STREAM, FIN if last else 0, payload)


def syn_reply(stream_id: int, block: bytes) -> bytes:
    return control(SYN_REPLY, 0, struct.pack("!I", stream_id) + block)


def rst_stream(stream_id: int, code: int) -> bytes:
    return control(RST_STREAM, 0, struct.pack("!II", stream_id, code))


def ping(number: int) -> bytes:
    return control(PING, 0, struct.pack("!I", number))


def goaway(last_good: int, code: int = 0) -> bytes:
    return control(GOAWAY, 0, struct.pack("!II", last_good, code))


def window_update(stream_id: int, size_bytes: int) -> bytes:
    return control(WINDOW_UPDATE, 0, struct.pack("!II", stream_id, size_bytes))
