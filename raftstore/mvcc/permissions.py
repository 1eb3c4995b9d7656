"""What an operation needs of whoever asks for it, and whether permissions cover it.

The rules are those of etcd 3.4 (`auth/store.go`, `etcdserver/apply_auth.go`): previous values
count as reading, a comparison as well; permissions of several roles add up to longer ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Literal, NamedTuple

from raftstore.types import ALL_FROM, Delete, Op, Permission, Put, Range, Txn


class Need(NamedTuple):
    access: Literal["read", "write"]
    key: bytes
    range_end: bytes = b""


def needs(op: Op, lease_keys: Callable[[int], Iterable[bytes]]) -> Iterator[Need]:
    """A put with a lease needs what revoking the lease would delete."""
    if isinstance(op, Range):
        yield Need("read", op.key, op.range_end)
    elif isinstance(op, Delete):
        yield Need("write", op.key, op.range_end)
        if op.prev_kv:
            yield Need("read", op.key, op.range_end)
    elif isinstance(op, Put):
        yield from _needs_of_put(op, lease_keys)
    else:
        yield from _needs_of_txn(op, lease_keys)


def _needs_of_put(put: Put, lease_keys: Callable[[int], Iterable[bytes]]) -> Iterator[Need]:
    yield Need("write", put.key)
    if put.prev_kv:
        yield Need("read", put.key)
    if put.lease:
        yield from (Need("write", key) for key in lease_keys(put.lease))


def _needs_of_txn(txn: Txn, lease_keys: Callable[[int], Iterable[bytes]]) -> Iterator[Need]:
    yield from (Need("read", compare.key, compare.range_end) for compare in txn.compare)
    for op in (*txn.success, *txn.failure):
        yield from needs(op, lease_keys)


def covers(permissions: Iterable[Permission], need: Need) -> bool:
    """Whether the permissions together span every key that is needed."""
    spans = [_span(p) for p in permissions if p.kind in (need.access, "readwrite")]
    spans.sort(key=itemgetter(0))
    return _reaches(spans, need)


def _reaches(spans: Sequence[tuple[bytes, bytes | None]], need: Need) -> bool:
    position, end = _span(Permission("read", need.key, need.range_end))
    for low, high in spans:
        if low > position:
            return False
        if high is None:
            return True
        position = max(position, high)
        if end is not None and position >= end:
            return True
    return False


def _span(permission: Permission) -> tuple[bytes, bytes | None]:
    """`[first, end)`; an end of None is that of all keys."""
    if not permission.range_end:
        return permission.key, permission.key + b"\0"
    return permission.key, None if permission.range_end == ALL_FROM else permission.range_end
