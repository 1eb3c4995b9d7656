"""The disk seam: the few file operations that a durable log needs, each with its own duty."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Protocol


class File(Protocol):
    """An open file. Writes are durable only after `sync` returned."""

    def read_at(self, offset: int, size_bytes: int) -> bytes: ...

    def write_at(self, offset: int, data: bytes) -> None: ...

    def allocate(self, size_bytes: int) -> None:
        """Reserve zero-filled space up to `size_bytes`, so that later writes need no metadata."""
        ...

    def truncate(self, size_bytes: int) -> None: ...

    def sync(self) -> None:
        """Make written data durable (fdatasync). After an OSError the file must not be trusted."""
        ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class Disk(Protocol):
    def open(self, path: str, *, create: bool = False) -> File: ...

    def make_folder(self, path: str) -> None: ...

    def list(self, path: str) -> list[str]:
        """Sorted names in a folder; empty if the folder does not exist."""
        ...

    def exists(self, path: str) -> bool: ...

    def rename(self, source: str, target: str) -> None: ...

    def remove(self, path: str) -> None: ...

    def sync_folder(self, path: str) -> None:
        """Make creations, renames and removals in a folder durable."""
        ...


class SystemFile:
    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        parts: list[bytes] = []
        while size_bytes > 0:
            part = os.pread(self._fd, size_bytes, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size_bytes -= len(part)
        return b"".join(parts)

    def write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            offset += written
            view = view[written:]

    def allocate(self, size_bytes: int) -> None:
        os.posix_fallocate(self._fd, 0, size_bytes)

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._fd, size_bytes)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)


class SystemDisk:
    """The files of this machine."""

    def open(self, path: str, *, create: bool = False) -> File:
        flags = os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            return SystemFile(os.open(path, flags | os.O_RDWR, 0o600))
        except OSError as error:
            if create or error.errno not in (errno.EACCES, errno.EROFS):
                raise
            return SystemFile(os.open(path, flags | os.O_RDONLY))  # a backup, say

    def make_folder(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def list(self, path: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(path))
        return []

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def sync_folder(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
