"""Snapshots: checked frames in a file that appears whole or not at all.

Write new, sync, rename, sync the folder; only then may the log be shortened. The first frame
names the log position, the last one counts the frames, so a cut-off file is noticed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgpack

from actors.seams import Disk
from actors.seams.disk import File
from raftstore.raft.consensus import Position

CHUNK_BYTES = 512 << 10
_HEADER = struct.Struct("<II")  # payload bytes, crc32
_SUFFIX, _TEMPORARY, _INCOMING = ".snap", "new.tmp", "incoming.tmp"
_FORMAT = 2


class CorruptSnapshot(Exception):
    """A snapshot is not what was written; the message says where."""


class Snapshot(NamedTuple):
    """The state after the entry at `position`: a head and chunks, whatever they mean."""

    position: Position
    head: Any
    chunks: list[Any]


class SnapshotWriter:
    """Writes one snapshot, piece by piece, so that its owner can do other things in between."""

    def __init__(self, disk: Disk, folder: str, position: Position, head: Any) -> None:
        self._disk, self._folder, self._position = disk, folder, position
        self._path = f"{folder}/{_TEMPORARY}"
        self._file: File = disk.open(self._path, create=True)
        self._file.truncate(0)
        self._offset = 0
        self._frames = 0
        self.add([_FORMAT, *position, head])

    def add(self, chunk: Any) -> None:
        frame = _frame(msgpack.packb(chunk))
        self._file.write_at(self._offset, frame)
        self._offset += len(frame)
        self._frames += 1

    @property
    def size_bytes(self) -> int:
        return self._offset

    def sync(self) -> None:
        """Spread the cost of the last sync."""
        self._file.sync()

    def finish(self) -> None:
        """Make it the snapshot to start from, durably; remove older ones."""
        self.add(["end", self._frames])
        self._file.sync()
        self._file.close()
        publish(self._disk, self._folder, self._path, self._position)

    def abandon(self) -> None:
        self._file.close()


def publish(disk: Disk, folder: str, path: str, position: Position) -> None:
    """Give a durable, verified file its final name; then drop what it supersedes."""
    target = _name(position.index)
    disk.rename(path, f"{folder}/{target}")
    disk.sync_folder(folder)
    for name in _names(disk, folder):
        if name < target:
            disk.remove(f"{folder}/{name}")


def newest(disk: Disk, folder: str) -> str | None:
    """Path of the newest snapshot, if there is one."""
    names = _names(disk, folder)
    return f"{folder}/{names[-1]}" if names else None


def newest_index(disk: Disk, folder: str) -> int:
    """The log index of the newest snapshot, or 0."""
    names = _names(disk, folder)
    return int(names[-1].removesuffix(_SUFFIX)) if names else 0


def position(disk: Disk, path: str) -> Position:
    """Where a snapshot ends, from its first frame. Raises CorruptSnapshot."""
    file = disk.open(path)
    try:
        _, term, index, _ = next(_frames(file, path))
    finally:
        file.close()
    return Position(term, index)


def load(disk: Disk, path: str) -> Snapshot:
    """Read and verify all of it. Raises CorruptSnapshot."""
    file = disk.open(path)
    try:
        frames = list(_frames(file, path))
    finally:
        file.close()
    if len(frames) < 2 or frames[0][0] != _FORMAT or frames[-1] != ["end", len(frames) - 1]:
        raise CorruptSnapshot(f"{path}: incomplete, or of an unknown format")
    _, term, index, head = frames[0]
    return Snapshot(Position(term, index), head, frames[1:-1])


class IncomingSnapshot:
    """Collects a snapshot that the leader streams, in order of offset."""

    def __init__(self, disk: Disk, folder: str, position: Position) -> None:
        self._disk, self._folder, self.position = disk, folder, position
        self._path = f"{folder}/{_INCOMING}"
        self._file = disk.open(self._path, create=True)
        self._file.truncate(0)
        self.received_bytes = 0

    def add(self, offset: int, data: bytes) -> None:
        """A chunk that is repeated or ahead changes nothing; `received_bytes` tells the sender."""
        if offset == self.received_bytes:
            self._file.write_at(offset, data)
            self.received_bytes += len(data)

    def finish(self) -> Snapshot:
        """Verify, make durable and publish. Raises CorruptSnapshot, and keeps nothing."""
        self._file.sync()
        self._file.close()
        snapshot = load(self._disk, self._path)
        if snapshot.position != self.position:
            raise CorruptSnapshot(f"{self._path}: not the snapshot that was announced")
        publish(self._disk, self._folder, self._path, self.position)
        return snapshot

    def abandon(self) -> None:
        self._file.close()


def _frames(file: File, path: str) -> Iterator[Sequence[Any]]:
    offset, end = 0, file.size()
    while offset < end:
        header = file.read_at(offset, _HEADER.size)
        if len(header) < _HEADER.size:
            raise CorruptSnapshot(f"{path}: cut off at byte {offset}")
        size, crc = _HEADER.unpack(header)
        payload = file.read_at(offset + _HEADER.size, size) if size <= end - offset else b""
        if not size or len(payload) != size or zlib.crc32(payload) != crc:
            raise CorruptSnapshot(f"{path}: damaged at byte {offset}")
        yield msgpack.unpackb(payload, strict_map_key=False)
        offset += _HEADER.size + size


def _frame(payload: bytes) -> bytes:
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def _name(index: int) -> str:
    return f"{index:016d}{_SUFFIX}"


def _names(disk: Disk, folder: str) -> list[str]:
    return [name for name in disk.list(folder) if name.endswith(_SUFFIX)]
