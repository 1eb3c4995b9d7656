"""A backup as a file: a bbolt database with etcd's buckets, and its SHA-256 at the end.

The checksum is there if the size leaves a remainder of 32 to a multiple of 512, as for etcdctl. A
database copied out of a data folder of etcd has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cached_property
from typing import Any

from actors.seams.disk import File
from raftstore import wire
from raftstore.backup import records
from raftstore.backup.records import InvalidBackup, Item
from raftstore.bolt.pages import DamagedFile
from raftstore.bolt.reader import BoltFile
from raftstore.bolt.writer import BoltWriter
from raftstore.types import KeyValue

READ_BYTES = 256 << 10
_DIGEST_BYTES = 32
_SECTOR_BYTES = 512


async def write(file: File, pieces: AsyncIterator[Any]) -> int:
    """Write what a member exports (see `MemberClient.export`) as a database into an empty file.

    Returns its size in bytes; neither synced nor followed by a checksum yet.
    """
    bolt = BoltWriter(file)
    keys = bolt.bucket(records.KEYS)
    for name, items in records.buckets(await anext(pieces)).items():
        bucket = bolt.bucket(name)
        for key, value in items:
            bucket.add(key, value)
    async for chunk in pieces:
        for of_revision in chunk:
            for key, value in records.key_items(wire.key_values(of_revision)):
                keys.add(key, value)
    return bolt.finish()


def parts(file: File, size_bytes: int) -> Iterator[bytes]:
    """The first `size_bytes`, piece by piece."""
    for offset in range(0, size_bytes, READ_BYTES):
        yield file.read_at(offset, min(READ_BYTES, size_bytes - offset))


def seal(file: File, size_bytes: int) -> None:
    """Append the checksum to a database of this size."""
    file.write_at(size_bytes, _digest(file, size_bytes))


class Backup:
    """An open backup. Raises InvalidBackup, here and whenever something of it is read."""

    def __init__(self, file: File, *, checked: bool = True) -> None:
        """`checked`: refuse a file without its checksum."""
        size_bytes = file.size()
        sealed = size_bytes % _SECTOR_BYTES == _DIGEST_BYTES
        if not sealed and checked:
            raise InvalidBackup("it has no checksum: is it complete, and a backup at all?")
        if sealed and checked and not _is_intact(file, size_bytes - _DIGEST_BYTES):
            raise InvalidBackup("it is damaged: its checksum is another one")
        try:
            self._bolt = BoltFile(file)
        except DamagedFile as error:
            raise InvalidBackup(str(error)) from error
        if records.KEYS not in self._bolt.buckets():
            raise InvalidBackup("it has no keys: it is no database of etcd")

    @cached_property
    def compacted(self) -> tuple[int, int]:
        """Up to where a compaction has finished, and up to where one was asked for."""
        return records.compacted(dict(self._items(records.META)))

    @cached_property
    def revision(self) -> int:
        last = self._bolt.last(records.KEYS)
        return max(1, self.compacted[1], records.revision_of(last[0]) if last else 0)

    @cached_property
    def head(self) -> Sequence[Any]:
        """All but the records, as of `Machine.dump`."""
        return [
            self.revision,
            self.compacted[0],
            records.leases(self._items(records.LEASES)),
            [],
            records.auth(
                dict(self._items(records.AUTH)),
                self._items(records.USERS),
                self._items(records.ROLES),
            ),
            records.alarms(self._items(records.ALARMS)),
        ]

    def records(self) -> Iterator[list[KeyValue]]:
        """Those of each revision, in order."""
        return records.revisions(self._items(records.KEYS))

    def _items(self, bucket: bytes) -> Iterator[Item]:
        try:
            yield from self._bolt.items(bucket)
        except DamagedFile as error:
            raise InvalidBackup(str(error)) from error


def _is_intact(file: File, size_bytes: int) -> bool:
    return file.read_at(size_bytes, _DIGEST_BYTES) == _digest(file, size_bytes)


def _digest(file: File, size_bytes: int) -> bytes:
    digest = hashlib.sha256()
    for part in parts(file, size_bytes):
        digest.update(part)
    return digest.digest()
