"""One number for all that a store keeps: equal on members that agree."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from itertools import islice

import msgpack

from raftstore.errors import Compacted, FutureRevision
from raftstore.mvcc.history import Records
from raftstore.mvcc.store import MvccStore
from raftstore.types import HashKv

SLICE = 2000
"""Revisions between two yields: some milliseconds, so that a member stays responsive."""


def hashing(store: MvccStore, revision: int = 0) -> Generator[None, None, HashKv]:
    """Hash the records up to `revision` (0: all) as they are now; yields between slices.

    Raises Compacted, FutureRevision, both before the first yield.
    """
    if revision > store.revision:
        raise FutureRevision(store.revision)
    if revision and revision < store.compacted_revision:
        raise Compacted(store.compacted_revision)
    last, compacted = revision or store.revision, store.compacted_revision
    return _hash(store.cut(), last, compacted)


def _hash(cut: Iterator[Records], last: int, compacted: int) -> Generator[None, None, HashKv]:
    crc = 0
    while chunk := [*islice(cut, SLICE)]:
        for records in chunk:
            if records[0].mod_revision <= last:
                crc = zlib.crc32(msgpack.packb(records), crc)
        yield
    return HashKv(crc, compacted, last)
