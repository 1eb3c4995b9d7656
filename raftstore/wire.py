"""Requests and results as msgpack values: the form of links, log entries and snapshots.

Tuples are packed as arrays field by field, so types may grow new last fields with defaults.
Whoever decodes a result knows what was asked, so results carry no tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgpack

from raftstore import errors
from raftstore.errors import InvalidRequest, StoreError
from raftstore.types import (
    Compare,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    Lease,
    Member,
    Members,
    Op,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
    WatchBatch,
)


class Kind(IntEnum):
    """First field of every operation; the numbers are in logs on disk, so they never change.

    From 20 on they are questions: they are answered from the state and never logged.
    """

    RANGE = 0
    PUT = 1
    DELETE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    SESSION_OPEN = 7
    SESSION_CLOSE = 8
    ALARM = 9
    AUTH = 10
    AS_USER = 11
    LEASES = 20
    ALARMS = 21
    AUTH_STATE = 22


def pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(data: bytes | memoryview) -> Any:
    """Raises InvalidRequest for anything that is not one msgpack value."""
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise InvalidRequest(f"malformed message: {error}") from error


def encode_op(op: Op) -> list[Any]:
    if isinstance(op, Put):
        return [Kind.PUT, *op]
    if isinstance(op, Range):
        return [Kind.RANGE, *op]
    if isinstance(op, Delete):
        return [Kind.DELETE, *op]
    success, failure = map(encode_op, op.success), map(encode_op, op.failure)
    return [Kind.TXN, list(op.compare), list(success), list(failure)]


def decode_op(wire: Sequence[Any]) -> Op:
    """Raises InvalidRequest for unknown kinds and wrong types."""
    try:
        op: Op = _decode_op(wire)
        return op
    except (TypeError, ValueError, IndexError, RecursionError) as error:
        raise InvalidRequest(f"malformed operation: {error}") from error


def _decode_op(wire: Sequence[Any]) -> Any:
    kind, fields = wire[0], wire[1:]
    if kind == Kind.PUT:
        put = Put(*fields)
        if tuple(map(type, put)) != _PUT_FIELDS:  # quicker, for most of what is decoded is this
            raise TypeError("put with a field of the wrong type")
        return put
    if kind == Kind.RANGE:
        return _bounded(_checked(Range(*fields), _RANGE_FIELDS))
    if kind == Kind.DELETE:
        return _checked(Delete(*fields), (bytes, bytes, bool))
    if kind != Kind.TXN:
        raise ValueError(f"unknown kind {kind}")
    compares = [_checked(Compare(*c), (bytes, str, str, (bytes, int), bytes)) for c in fields[0]]
    return Txn(compares, [*map(_decode_op, fields[1])], [*map(_decode_op, fields[2])])


_PUT_FIELDS = (bytes, bytes, int, bool, bool, bool)
_RANGE_FIELDS = (bytes, bytes, int, int, bool, bool, str, str, int, int, int, int)


def _bounded(op: Range) -> Range:
    """A limit below 0 is none, as in etcd; one that no list can reach, too."""
    return op if 0 <= op.limit < 1 << 63 else op._replace(limit=0)


def _checked(op: Any, kinds: Sequence[Any]) -> Any:
    if not all(map(isinstance, op, kinds)):
        raise TypeError(f"{type(op).__name__} with a field of the wrong type")
    return op


def key_value(wire: Sequence[Any] | None) -> KeyValue | None:
    return None if wire is None else KeyValue(*wire)


def key_values(wires: Sequence[Sequence[Any]]) -> list[KeyValue]:
    return [KeyValue(*wire) for wire in wires]


def decode_result(op: Op, wire: Sequence[Any]) -> Result:
    """The result of `op` from its packed form."""
    if isinstance(op, Range):
        revision, kvs, more, count = wire
        return RangeResult(revision, key_values(kvs), more, count)
    if isinstance(op, Put):
        return PutResult(wire[0], key_value(wire[1]))
    if isinstance(op, Delete):
        return DeleteResult(wire[0], wire[1], key_values(wire[2]))
    revision, succeeded, responses = wire
    branch = op.success if succeeded else op.failure
    results = [decode_result(o, r) for o, r in zip(branch, responses, strict=True)]
    return TxnResult(revision, succeeded, results)


def decode_lease(wire: Sequence[Any]) -> Lease:
    lease_id, ttl_s, granted_s, keys = wire
    return Lease(lease_id, ttl_s, granted_s, tuple(keys))


def decode_members(wire: Sequence[Any]) -> Members:
    cluster_id, members = wire
    return Members(cluster_id, [Member(*fields) for fields in members])


def decode_batch(wire: Sequence[Any]) -> WatchBatch:
    revision, events = wire
    return WatchBatch(
        revision, [Event(kind, KeyValue(*kv), key_value(previous)) for kind, kv, previous in events]
    )


def success(value: Any) -> bytes:
    """A packed answer: `[true, value]`."""
    return pack((True, value))


def failure(error: StoreError) -> bytes:
    """A packed answer: `[false, error]`."""
    return pack((False, errors.encode(error)))


def answer(wire: Sequence[Any]) -> Any:
    """The value of an unpacked answer; raises the error that it carries."""
    succeeded, value = wire
    if not succeeded:
        raise errors.decode(value)
    return value
