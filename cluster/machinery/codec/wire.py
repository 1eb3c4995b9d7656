"""Protobuf's wire format: varints, tags, and walking the fields of a message."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cluster.machinery.errors import BadRequest

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Value = int | bytes
"""An int for varints and fixed-width fields (raw bits), bytes for length-delimited ones."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, next offset); BadRequest when the data ends or the number does not."""
    result = shift = 0
    while shift < 70:
        if at >= len(data):
            raise BadRequest("protobuf: unexpected end of data")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise BadRequest("protobuf: integer overflow")


def fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """(field number, wire type, value) of each field, in order."""
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise BadRequest("protobuf: illegal tag 0")
        value, at = _read_value(data, at, kind)
        yield number, kind, value


def _read_value(data: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == VARINT:
        return read_varint(data, at)
    if kind == BYTES:
        size, at = read_varint(data, at)
    elif kind in (FIXED64, FIXED32):
        size = 8 if kind == FIXED64 else 4
    else:
        raise BadRequest(f"protobuf: illegal wire type {kind}")
    if at + size > len(data):
        raise BadRequest("protobuf: unexpected end of data")
    chunk = data[at : at + size]
    return (chunk if kind == BYTES else int.from_bytes(chunk, "little")), at + size


def signed(value: int, bits: int = 64) -> int:
    """The two's complement number in the low bits of a varint."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def double(bits: int) -> float:
    """The IEEE 754 number of a fixed 64-bit field."""
    number: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return number


def varint(value: int) -> bytes:
    """Of a number; negative ones take ten bytes, as in Go."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, kind: int) -> bytes:
    """The key in front of a field."""
    return varint(number << 3 | kind)


def delimited(number: int, data: bytes) -> bytes:
    """A string, bytes or message field."""
    return tag(number, BYTES) + varint(len(data)) + data


def number_field(number: int, value: int) -> bytes:
    """An integer or boolean field."""
    return tag(number, VARINT) + varint(value)


def double_field(number: int, value: float) -> bytes:
    """A double field."""
    return tag(number, FIXED64) + struct.pack("<d", value)
