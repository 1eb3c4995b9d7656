"""Files of this machine that lose what was not synced when their process is killed.

What is not durable stays in the memory of the process: writes until `sync`, names until
`sync_folder`. So SIGKILL does to the files what a power cut does to a disk. As on a disk, some of
it gets through earlier, by seed: single sectors in any order, a prefix of the changes of names; and
a sync writes sector by sector, so a kill in its midst tears. No sector is written in part.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence

from actors.seams.disk import SystemDisk
from actors.seams.randomness import Randomness

SECTOR_BYTES = 512
MAX_UNSYNCED_BYTES = 64 << 20
"""Of one file; what is more gets through, as it does when a page cache is full."""
_UNNAMED = ".unnamed-"
"""Files whose creation is not durable; a disk that is opened again has none of them."""
_Change = tuple[int, bytes]
"""(offset, data), or (size, b"") with size < 0 (complemented) for a change of size."""


class _Inode:
    """A file, whatever its name. `path`: where it is on the real disk by now."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.changes: list[_Change] = []
        self.unsynced_bytes = 0
        self.size = os.fstat(descriptor).st_size
        self.handles = 0

    def read(self, offset: int, size_bytes: int) -> bytes:
        end = max(offset, min(offset + size_bytes, self.size))
        data = bytearray(os.pread(self.descriptor, end - offset, offset).ljust(end - offset, b"\0"))
        for start, new in self.changes:
            if start < 0:
                kept = min(len(data), max(0, ~start - offset))
                data[kept:] = bytes(len(data) - kept)
            else:
                first, last = max(start, offset), min(start + len(new), end)
                if first < last:
                    data[first - offset : last - offset] = new[first - start : last - start]
        return bytes(data)

    def change(self, change: _Change) -> None:
        self.changes.append(change)
        offset, data = change
        self.size = ~offset if offset < 0 else max(self.size, offset + len(data))
        self.unsynced_bytes += len(data)

    def forget_changes(self) -> None:
        self.changes, self.unsynced_bytes = [], 0
        self.size = os.fstat(self.descriptor).st_size


class LossyFile:
    """A handle; see `actors.seams.disk.File`."""

    def __init__(self, disk: LossyDisk, inode: _Inode) -> None:
        self._disk, self._inode = disk, inode
        inode.handles += 1

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        return self._inode.read(offset, size_bytes)

    def write_at(self, offset: int, data: bytes) -> None:
        self._disk.check_space()
        self._disk.change(self._inode, (offset, bytes(data)))

    def allocate(self, size_bytes: int) -> None:
        self._disk.check_space()
        if size_bytes > self._inode.size:
            self._disk.change(self._inode, (~size_bytes, b""))

    def truncate(self, size_bytes: int) -> None:
        self._disk.change(self._inode, (~size_bytes, b""))

    def sync(self) -> None:
        self._disk.sync(self._inode)

    def size(self) -> int:
        return self._inode.size

    def close(self) -> None:
        """Says nothing about durability."""
        self._inode.handles -= 1
        self._disk.release(self._inode)


class LossyDisk:
    """See `actors.seams.disk.Disk`. `full` and `failing_syncs` are faults on request.

    One process owns its folders; `make_folder` is durable at once.
    """

    def __init__(self, randomness: Randomness, early: float = 0.2, slow_sync: float = 0.3) -> None:
        """Probabilities: that a change gets through early, that a sync is seen half done."""
        self._randomness, self._early, self._slow_sync = randomness, early, slow_sync
        self._system = SystemDisk()
        self._inodes: dict[int, _Inode] = {}
        self._names: dict[str, _Inode | None] = {}
        self._name_changes: list[Callable[[], None]] = []
        self._unnamed = 0
        self._checked: set[str] = set()
        self.full = False
        self.failing_syncs = 0

    # ---- the seam

    def open(self, path: str, *, create: bool = False) -> LossyFile:
        if not self.exists(path):
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            self.check_space()
            self._create(path)
        inode = self._names.get(path)
        return LossyFile(self, inode if inode is not None else self._inode(path))

    def make_folder(self, path: str) -> None:
        self._system.make_folder(path)
        self._check(path)

    def list(self, path: str) -> list[str]:
        real = {name for name in self._system.list(path) if not name.startswith(_UNNAMED)}
        for changed, inode in self._names.items():
            folder, _, name = changed.rpartition("/")
            if folder == path:
                (real.discard if inode is None else real.add)(name)
        return sorted(real)

    def exists(self, path: str) -> bool:
        if path in self._names:
            return self._names[path] is not None
        return self._system.exists(path)

    def rename(self, source: str, target: str) -> None:
        inode = self._find(source)

        def really() -> None:
            os.rename(source, target)
            inode.path = target

        self._names[source], self._names[target] = None, inode
        self._change_name(really)

    def remove(self, path: str) -> None:
        self._find(path)
        self._names[path] = None
        self._change_name(lambda: os.unlink(path))

    def sync_folder(self, path: str) -> None:
        """Journalled: what happened before in other folders becomes durable, too."""
        self._write_names(len(self._name_changes))
        self._system.sync_folder(path)

    # ---- names

    def _check(self, folder: str) -> None:
        """Once, as a file system is checked at a boot: what never had a name is gone."""
        if folder not in self._checked:
            self._checked.add(folder)
            for name in self._system.list(folder):
                if name.startswith(_UNNAMED):
                    os.unlink(f"{folder}/{name}")

    def _create(self, path: str) -> None:
        folder = os.path.dirname(path)
        self._check(folder)
        self._unnamed += 1
        unnamed = f"{folder}/{_UNNAMED}{self._unnamed}"
        os.close(os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        inode = self._names[path] = self._inode(unnamed)

        def really() -> None:
            os.rename(unnamed, path)
            inode.path = path

        self._change_name(really)

    def _find(self, path: str) -> _Inode:
        if not self.exists(path):
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return self._names.get(path) or self._inode(path)

    def _inode(self, path: str) -> _Inode:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        number = os.fstat(descriptor).st_ino
        if number in self._inodes:
            os.close(descriptor)
        else:
            self._inodes[number] = _Inode(path, descriptor)
        return self._inodes[number]

    def _change_name(self, really: Callable[[], None]) -> None:
        self._name_changes.append(really)
        if self._randomness.random() < self._early:
            self._write_names(self._randomness.randint(0, len(self._name_changes)))

    def _write_names(self, number: int) -> None:
        """In order, so that the real disk always holds names that once were."""
        for really in self._name_changes[:number]:
            really()
        del self._name_changes[:number]
        if not self._name_changes:
            self._names = {}
            for inode in list(self._inodes.values()):
                self.release(inode)

    # ---- contents

    def check_space(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def change(self, inode: _Inode, change: _Change) -> None:
        inode.change(change)
        if inode.unsynced_bytes > MAX_UNSYNCED_BYTES:
            self._write(inode, inode.changes, 1.0)
            inode.forget_changes()
        elif self._randomness.random() < self._early:
            some = self._randomness.randint(0, len(inode.changes))
            self._write(inode, inode.changes[:some], self._randomness.random())

    def sync(self, inode: _Inode) -> None:
        if self.failing_syncs:
            self.failing_syncs -= 1
            self._write(inode, inode.changes, self._randomness.random())
            inode.forget_changes()
            raise OSError(errno.EIO, "Input/output error")
        if inode.changes and self._randomness.random() < self._slow_sync:
            self._write(inode, inode.changes, self._randomness.random())
            os.fdatasync(inode.descriptor)
        self._write(inode, inode.changes, 1.0)
        os.fdatasync(inode.descriptor)
        inode.forget_changes()

    def release(self, inode: _Inode) -> None:
        """Close a file that nobody has open and that holds nothing that is not durable."""
        named = any(inode is other for other in self._names.values())
        facts = os.fstat(inode.descriptor)
        if inode.handles == 0 and not named and (facts.st_nlink == 0 or not inode.changes):
            del self._inodes[facts.st_ino]
            os.close(inode.descriptor)

    def _write(self, inode: _Inode, changes: Sequence[_Change], share: float) -> None:
        """Changes of size in order; of the data between them, a share of the sectors."""
        for offset, data in changes:
            if offset < 0:
                _resize(inode.descriptor, ~offset)
            elif share >= 1.0 and self._randomness.random() >= self._slow_sync:
                os.pwrite(inode.descriptor, data, offset)
            else:
                sectors = list(_sectors(offset, len(data)))
                self._randomness.shuffle(sectors)
                for first, last in sectors[: round(share * len(sectors))]:
                    os.pwrite(inode.descriptor, data[first - offset : last - offset], first)


def _sectors(offset: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """(first, last) of each part of a write that falls into one sector."""
    end = offset + size_bytes
    for start in range(offset - offset % SECTOR_BYTES, end, SECTOR_BYTES):
        yield max(start, offset), min(start + SECTOR_BYTES, end)


def _resize(descriptor: int, size_bytes: int) -> None:
    """To more with real zeros, as `allocate` promises."""
    if size_bytes > os.fstat(descriptor).st_size:
        os.posix_fallocate(descriptor, 0, size_bytes)
    else:
        os.ftruncate(descriptor, size_bytes)


def flip_bit(path: str, randomness: Randomness, keep_tail_bytes: int = 0) -> int | None:
    """Damage the file of a process that does not run, but not its last bytes that are not zero.

    The offset of the flipped bit's byte, or None if the file is too short.
    """
    with open(path, "r+b") as file:
        data = file.read()
        end = len(data.rstrip(b"\0")) - keep_tail_bytes
        if end <= 0:
            return None
        position = randomness.randrange(end)
        file.seek(position)
        file.write(bytes([data[position] ^ 1 << randomness.randrange(8)]))
    return position
