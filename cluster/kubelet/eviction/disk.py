"""How much of the disk folders take: blocks and inodes, without what is mounted in them."""

from __future__ import annotations

import os
from dataclasses import dataclass

_BLOCK_BYTES = 512
_ENTRIES_MAX = 200_000
"""Of one folder; what is beyond is not looked at."""


@dataclass(frozen=True)
class Taken:
    size_bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.size_bytes + other.size_bytes, self.inodes + other.inodes)


def of_folder(path: str) -> Taken:
    """Nothing for a folder that is not there. A file with several names counts once."""
    size = inodes = 0
    seen: set[int] = set()
    try:
        device = os.lstat(path).st_dev
    except OSError:
        return Taken()
    waiting = [path]
    while waiting and inodes < _ENTRIES_MAX:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:  # it has gone meanwhile, or is nobody's business
            continue
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if found.st_dev != device or (found.st_nlink > 1 and found.st_ino in seen):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif found.st_nlink > 1:
                seen.add(found.st_ino)
            size += found.st_blocks * _BLOCK_BYTES
            inodes += 1
    return Taken(size, inodes)
