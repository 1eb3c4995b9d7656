"""Frames of the write-ahead log: how one is written, and what a damaged last one was.

A frame is a header (its own checksum last), a payload and an end mark. A write that the power cut
short leaves whole sectors as they were, and behind what was ever written a segment is zeros. So a
frame that lacks sectors has a sector of zeros in it, and a frame that was written never has: the
end mark is not zero, and a payload with a long run of zeros is masked. That tells a torn write
from damage (the rule is that of etcd's `wal/decoder.go`, `isTornEntry`, with exact bounds).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import msgpack

MAX_FRAME_BYTES = 1 << 30
SECTOR_BYTES = 512
"""What a disk writes wholly or not at all; larger sectors are multiples of it."""
_PLAIN, _MASKED = b"RKw2", b"RKm2"
_HEADER = struct.Struct("<4sIIQ")  # magic, payload bytes, crc32 of the payload, number
_HEADER_CRC = struct.Struct("<I")
_HEADER_BYTES = _HEADER.size + _HEADER_CRC.size
_END = b"\xa5end"
OVERHEAD_BYTES = _HEADER_BYTES + len(_END)
_ZEROS = bytes(SECTOR_BYTES // 2)
"""With runs shorter than this, one flipped bit cannot make a sector of zeros."""


class Frame(NamedTuple):
    number: int
    end: int
    records: list[Any]


class _Head(NamedTuple):
    masked: bool
    size: int
    crc: int
    number: int


def encode(number: int, payload: bytes) -> bytes:
    magic = _PLAIN
    if _ZEROS in payload:
        magic, payload = _MASKED, _mask(number, payload)
    header = _HEADER.pack(magic, len(payload), zlib.crc32(payload), number)
    return b"".join((header, _HEADER_CRC.pack(zlib.crc32(header)), payload, _END))


def decode_all(data: bytes) -> Iterator[Frame]:
    """Valid frames from the start on."""
    offset = 0
    while (frame := _frame_at(data, offset)) is not None:
        yield frame
        offset = frame.end


def is_torn(data: bytes, offset: int) -> bool:
    """Whether what is at `offset`, not a valid frame, was being written when the power went.

    `data` is the whole segment. False: it was durable once, and has been damaged since.
    """
    head = _head_at(data, offset)
    if _valid_frame_follows(data, offset, head):
        return False
    if head is None:
        written = len(data.rstrip(b"\0")) - offset
        return written <= _HEADER_BYTES or _lacks_sector(data, offset, offset + _HEADER_BYTES)
    end = offset + head.size + OVERHEAD_BYTES
    return not any(data[end - len(_END) : end]) or _lacks_sector(data, offset, end)


def _lacks_sector(data: bytes, start: int, end: int) -> bool:
    """A part of `[start, end)` that lies in one sector is zeros, or behind the end of the file."""
    borders = [start, *range(start - start % SECTOR_BYTES + SECTOR_BYTES, end, SECTOR_BYTES), end]
    return not all(any(data[a:b]) for a, b in pairwise(borders))


def _valid_frame_follows(data: bytes, offset: int, head: _Head | None) -> bool:
    if head is not None:
        return _frame_at(data, offset + head.size + OVERHEAD_BYTES) is not None
    places = (_places(data, magic, offset + 1) for magic in (_PLAIN, _MASKED))
    return any(_frame_at(data, place) is not None for found in places for place in found)


def _places(data: bytes, magic: bytes, start: int) -> Iterator[int]:
    while (start := data.find(magic, start)) >= 0:
        yield start
        start += 1


def _head_at(data: bytes, offset: int) -> _Head | None:
    end = offset + _HEADER.size
    if end + _HEADER_CRC.size > len(data):
        return None
    magic, size, crc, number = _HEADER.unpack_from(data, offset)
    if magic not in (_PLAIN, _MASKED) or size > MAX_FRAME_BYTES:
        return None
    if _HEADER_CRC.unpack_from(data, end) != (zlib.crc32(data[offset:end]),):
        return None
    return _Head(magic == _MASKED, size, crc, number)


def _frame_at(data: bytes, offset: int) -> Frame | None:
    head = _head_at(data, offset)
    if head is None:
        return None
    start = offset + _HEADER_BYTES
    payload = data[start : start + head.size]
    if len(payload) != head.size or zlib.crc32(payload) != head.crc:
        return None
    if head.masked:
        payload = _mask(head.number, payload)
    return Frame(head.number, start + head.size + len(_END), msgpack.unpackb(payload))


def _mask(number: int, payload: bytes) -> bytes:
    """Combine with bytes that have no long runs; its own inverse."""
    pattern = hashlib.blake2b(struct.pack("<Q", number)).digest()
    size = len(payload)
    mask = (pattern * (size // len(pattern) + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)
