"""Just enough of HTTP/2 to load a gRPC server: frames are counted, and hardly anything decoded.

A load generator shares two cores with what it measures, so it has to be cheap: gRPC's own Python
client costs more per request than the servers do. Flow control is opened wide once, and header
blocks of answers are not read: an answer is the message that comes on a stream.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_WIDE = (1 << 31) - 1
_HEADER = struct.Struct(">BHBBI")

Answer = Callable[[int, bytes], None]
"""Called with a stream's number and a message on it."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def message(content: bytes) -> bytes:
    """A gRPC message, not compressed."""
    return b"\0" + struct.pack(">I", len(content)) + content


def headers(path: str) -> bytes:
    """A header block without Huffman codes or the dynamic table (RFC 7541, appendix A)."""

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    return b"".join(
        (
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + text(path),
            b"\x01" + text("store"),  # :authority
            b"\x0f\x10" + text("application/grpc"),  # content-type
            b"\x00" + text("te") + text("trailers"),
        )
    )


class Http2(asyncio.Protocol):
    """One connection. Streams are numbered by the caller: 1, 3, 5..."""

    def __init__(self, answered: Answer) -> None:
        self._answered = answered
        self._buffer = bytearray()
        self._messages: dict[int, bytearray] = {}

    @classmethod
    async def connect(cls, address: str, answered: Answer) -> Http2:
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: cls(answered), host, int(port))
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        wide = struct.pack(">HIHI", 4, _WIDE, 2, 0)  # initial window; no pushes
        opened = struct.pack(">I", _WIDE - 65_535)
        start = frame(_SETTINGS, 0, 0, wide) + frame(_WINDOW_UPDATE, 0, 0, opened)
        transport.write(_PREFACE + start)  # type: ignore[attr-defined]

    def open(self, stream: int, path: str) -> None:
        self.write(frame(_HEADERS, _END_HEADERS, stream, headers(path)))

    def send(self, stream: int, content: bytes) -> None:
        self.write(frame(_DATA, 0, stream, message(content)))

    def call(self, stream: int, path: str, content: bytes) -> None:
        """A unary request."""
        start = frame(_HEADERS, _END_HEADERS, stream, headers(path))
        self.write(start + frame(_DATA, _END_STREAM, stream, message(content)))

    def write(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        buffer, offset = self._buffer, 0
        buffer += data
        while len(buffer) - offset >= 9:
            high, low, kind, flags, stream = _HEADER.unpack_from(buffer, offset)
            end = offset + 9 + (high << 16 | low)
            if end > len(buffer):
                break
            if kind == _DATA:
                self._add(stream, buffer[offset + 9 : end])
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                payload = bytes(buffer[offset + 9 : end]) if kind == _PING else b""
                self.write(frame(kind, _ACK, 0, payload))
            offset = end
        del buffer[:offset]

    def _add(self, stream: int, data: bytearray) -> None:
        pending = self._messages.setdefault(stream, bytearray())
        pending += data
        while len(pending) >= 5:
            end = 5 + int.from_bytes(pending[1:5])
            if len(pending) < end:
                return
            content = bytes(pending[5:end])
            del pending[:end]
            self._answered(stream, content)
        if not pending:
            del self._messages[stream]
