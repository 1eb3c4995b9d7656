"""Writes a container's output in the CRI log format, and rotates the file by size.

A line is `2016-10-06T00:17:09.669794202Z stdout F text`; F ends a line, P is a part of one
(longer than 16 KiB, or cut off by the end of the output).
"""

from __future__ import annotations

import os
import time

PART_SIZE_BYTES_MAX = 16 * 1024


class LogFile:
    """Both streams of one container in one file, `path`, `path.1` (older) and so on."""

    def __init__(self, path: str, size_bytes_max: int, files_max: int) -> None:
        self._path = path
        self._size_bytes_max = size_bytes_max
        self._files_max = files_max
        self._fd = -1
        self._second = -1
        self._prefix = ""
        self.lost_bytes = 0
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """A full disk must not stop the container: what cannot be written is counted instead."""
        if self._size and self._size + len(data) > self._size_bytes_max:
            self._rotate()
        try:
            self._size += os.write(self._fd, data)
        except OSError:
            self.lost_bytes += len(data)

    def _rotate(self) -> None:
        os.close(self._fd)
        for number in range(self._files_max - 1, 0, -1):
            older = self._path if number == 1 else f"{self._path}.{number - 1}"
            if os.path.exists(older):
                os.replace(older, f"{self._path}.{number}")
        if self._files_max <= 1:
            os.unlink(self._path)
        self._open()

    def stamp(self) -> bytes:
        nanoseconds = time.time_ns()
        second, rest = divmod(nanoseconds, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{rest:09d}Z".encode()

    def close(self) -> None:
        os.close(self._fd)


class Stream:
    """Cuts one output stream into lines."""

    def __init__(self, name: str, log: LogFile) -> None:
        self._name = name.encode()
        self._log = log
        self._pending = b""

    def feed(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        stamp = self._log.stamp()
        entries = []
        for line in lines:
            entries += self._parts(stamp, line)
        if len(self._pending) >= PART_SIZE_BYTES_MAX:
            cut = len(self._pending) - len(self._pending) % PART_SIZE_BYTES_MAX
            text, self._pending = self._pending[:cut], self._pending[cut:]
            entries += self._partials(stamp, text)
        if entries:
            self._log.write(b"".join(entries))

    def finish(self) -> None:
        """The output ended: what has no line end is written as a part."""
        if self._pending:
            self._log.write(self._entry(self._log.stamp(), b"P", self._pending))
            self._pending = b""

    def _parts(self, stamp: bytes, line: bytes) -> list[bytes]:
        cut = max(0, len(line) - 1) // PART_SIZE_BYTES_MAX * PART_SIZE_BYTES_MAX
        return [*self._partials(stamp, line[:cut]), self._entry(stamp, b"F", line[cut:])]

    def _partials(self, stamp: bytes, text: bytes) -> list[bytes]:
        size = PART_SIZE_BYTES_MAX
        starts = range(0, len(text), size)
        return [self._entry(stamp, b"P", text[at : at + size]) for at in starts]

    def _entry(self, stamp: bytes, tag: bytes, text: bytes) -> bytes:
        return b"%s %s %s %s\n" % (stamp, self._name, tag, text)
