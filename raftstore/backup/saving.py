"""Saving a backup: into a new file, verified as a restoration would, and only then named."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

from actors.seams import Disk
from actors.seams.disk import File
from raftstore.backup.file import Backup, seal, write

_PART = ".part"


class Saved(NamedTuple):
    """What a backup holds. `records`: versions of keys, deletions too."""

    revision: int
    records: int
    size_bytes: int


async def save(disk: Disk, path: str, pieces: AsyncIterator[Any]) -> Saved:
    """Save what a member exports. `path` is as before unless all went well.

    Raises InvalidBackup if what was written cannot be read back, OSError, and what `pieces` does.
    """
    part = path + _PART
    with _new(disk, part) as file:
        seal(file, await write(file, pieces))
        file.sync()
        saved = inspect(file)
        disk.rename(part, path)
    disk.sync_folder(os.path.dirname(path) or ".")
    return saved


def inspect(file: File) -> Saved:
    """Read all of a backup. Raises InvalidBackup."""
    backup = Backup(file)
    records = sum(map(len, backup.records()))
    return Saved(backup.head[0], records, file.size())


@contextlib.contextmanager
def _new(disk: Disk, path: str) -> Iterator[File]:
    """An empty file; removed again after an error."""
    file = disk.open(path, create=True)
    try:
        file.truncate(0)
        yield file
    except BaseException:
        disk.remove(path)
        raise
    finally:
        file.close()
