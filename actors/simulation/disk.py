"""A disk in memory that forgets, tears, fails and fills up. Pure: faults come from a generator.

What a write did is durable only after `sync`, what a name is only after `sync_folder`. A power
loss keeps an arbitrary part of the rest, in whole sectors and in any order.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

from actors.seams.randomness import Randomness

SECTOR_BYTES = 512
NEWEST_BYTES = 1024
_Write = tuple[int, bytes]
"""(offset, data), or (size, b"") with size < 0 (complemented) for a change of size."""


class _Image:
    """Bytes of a file; zeros behind the last one written are not stored."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0

    def write(self, offset: int, data: bytes) -> None:
        if offset < 0:
            self.resize(~offset)
            return
        self.data += b"\0" * (offset - len(self.data))
        self.data[offset : offset + len(data)] = data
        self.size = max(self.size, offset + len(data))

    def resize(self, size: int) -> None:
        del self.data[size:]
        self.size = size

    def read(self, offset: int, size: int) -> bytes:
        size = max(0, min(size, self.size - offset))
        return bytes(self.data[offset : offset + size]).ljust(size, b"\0")

    def copy(self) -> _Image:
        image = _Image()
        image.data, image.size = bytearray(self.data), self.size
        return image


class _Inode:
    def __init__(self) -> None:
        self.live, self.durable = _Image(), _Image()
        self.pending: list[_Write] = []


class MemoryFile:
    """A handle; see `actors.seams.disk.File`."""

    def __init__(self, disk: MemoryDisk, inode: _Inode) -> None:
        self._disk, self._inode = disk, inode

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        return self._inode.live.read(offset, size_bytes)

    def write_at(self, offset: int, data: bytes) -> None:
        self._disk.check_space()
        self._change(offset, bytes(data))

    def allocate(self, size_bytes: int) -> None:
        self._disk.check_space()
        if size_bytes > self._inode.live.size:
            self._change(~size_bytes, b"")

    def truncate(self, size_bytes: int) -> None:
        self._change(~size_bytes, b"")

    def sync(self) -> None:
        self._disk.sync(self._inode)

    def size(self) -> int:
        return self._inode.live.size

    def close(self) -> None:
        """Says nothing about durability."""

    def _change(self, offset: int, data: bytes) -> None:
        self._inode.live.write(offset, data)
        self._inode.pending.append((offset, data))


class MemoryDisk:
    """See `actors.seams.disk.Disk`. `full` and `failing_syncs` are faults; `crash` another."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._changes: list[tuple[str, _Inode | None]] = []
        self.full = False
        self.failing_syncs = 0
        self.syncs = 0

    # ---- the seam

    def open(self, path: str, *, create: bool = False) -> MemoryFile:
        if path not in self._names:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            self.check_space()
            self._rename([(path, _Inode())])
        return MemoryFile(self, self._names[path])

    def make_folder(self, path: str) -> None:
        """Folders are implied."""

    def list(self, path: str) -> list[str]:
        names = [p.removeprefix(path + "/") for p in self._names if p.startswith(path + "/")]
        return sorted(name for name in names if "/" not in name)

    def exists(self, path: str) -> bool:
        return path in self._names

    def rename(self, source: str, target: str) -> None:
        inode = self._find(source)
        self._rename([(source, None), (target, inode)])

    def remove(self, path: str) -> None:
        self._find(path)
        self._rename([(path, None)])

    def sync_folder(self, path: str) -> None:
        """Journalled: what happened before in other folders becomes durable, too."""
        self._apply_names(self._changes)
        self._changes = []

    # ---- inside

    def check_space(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "no space left on device")

    def sync(self, inode: _Inode) -> None:
        if self.failing_syncs:
            self.failing_syncs -= 1
            self._lose(inode)
            raise OSError(errno.EIO, "sync failed")
        for write in inode.pending:
            inode.durable.write(*write)
        inode.pending = []
        self.syncs += 1

    def _find(self, path: str) -> _Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return self._names[path]

    def _rename(self, changes: Sequence[tuple[str, _Inode | None]]) -> None:
        _rename(self._names, changes)
        self._changes.extend(changes)

    def _apply_names(self, changes: Sequence[tuple[str, _Inode | None]]) -> None:
        _rename(self._durable_names, changes)

    # ---- faults

    def crash(self) -> None:
        """Power loss. Of what was not synced, names keep a prefix and writes any part."""
        kept = self._randomness.randint(0, len(self._changes))
        if kept and self._changes[kept - 1][1] is None and kept < len(self._changes):
            kept += 1  # both halves of a rename, or one removal and what followed it
        self._apply_names(self._changes[:kept])
        self._names, self._changes = dict(self._durable_names), []
        for inode in self._names.values():
            self._lose(inode)

    def flip_bit(self, suffix: str, newest: bool = False) -> str | None:
        """Damage what a file named like `suffix` holds durably; its path.

        `newest`: at the end of the last of them.

        For a machine that is off: what was not synced is gone, too.
        """
        files = [(p, i) for p, i in sorted(self._names.items()) if p.endswith(suffix)]
        files = [(p, i) for p, i in files if any(i.durable.data)]
        if not files:
            return None
        path, inode = files[-1] if newest else self._randomness.choice(files)
        end = len(inode.durable.data.rstrip(b"\0"))
        position = self._randomness.randrange(max(0, end - NEWEST_BYTES) if newest else 0, end)
        inode.durable.data[position] ^= 1 << self._randomness.randrange(8)
        inode.live, inode.pending = inode.durable.copy(), []
        return path

    def _lose(self, inode: _Inode) -> None:
        pending, inode.pending = inode.pending, []
        fate = self._randomness.random()
        for offset, data in pending:
            if fate < 0.2:
                break
            if fate < 0.35 or offset < 0:
                inode.durable.write(offset, data)
            else:
                self._tear(inode.durable, offset, data)
        inode.live = inode.durable.copy()

    def _tear(self, image: _Image, offset: int, data: bytes) -> None:
        """Sectors reach the disk wholly or not at all, in any order."""
        end = offset + len(data)
        for start in range(offset - offset % SECTOR_BYTES, end, SECTOR_BYTES):
            if self._randomness.random() < 0.5:
                first, last = max(start, offset), min(start + SECTOR_BYTES, end)
                image.write(first, data[first - offset : last - offset])


def _rename(names: dict[str, Any], changes: Sequence[tuple[str, Any]]) -> None:
    for path, inode in changes:
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode
