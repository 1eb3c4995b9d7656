"""Reads the CRI logs of containers: tail, since, timestamps, limit, follow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from actors.seams import Clock
from cluster.machinery import meta

_BLOCK_SIZE_BYTES = 64 * 1024
_POLL_S = 0.05
_GENERATIONS_MAX = 16


@dataclass(frozen=True)
class LogOptions:
    """As PodLogOptions. `since_s` is a wall time, `stream` is "stdout", "stderr" or "" for both."""

    follow: bool = False
    tail_lines: int | None = None
    since_s: float | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = ""


def text_of(entry: bytes, options: LogOptions, *, starts_line: bool = True) -> bytes:
    """What a reader sees of one log entry; nothing if it is too old or malformed.

    A long line is in several entries: only the first one shows its time.
    """
    parts = entry.rstrip(b"\n").split(b" ", 3)
    if len(parts) != 4:
        return b""
    stamp, stream, tag, text = parts
    if options.stream and stream != options.stream.encode():
        return b""
    if options.since_s is not None and time_of(stamp) < options.since_s:
        return b""
    if tag == b"F":
        text += b"\n"
    return stamp + b" " + text if options.timestamps and starts_line else text


class _Lines:
    """Remembers, for each stream, whether the next entry begins a line."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._within: set[bytes] = set()

    def text_of(self, entry: bytes) -> bytes:
        parts = entry.split(b" ", 3)
        if len(parts) != 4:
            return b""
        text = text_of(entry, self._options, starts_line=parts[1] not in self._within)
        (self._within.discard if parts[2] == b"F" else self._within.add)(parts[1])
        return text


def time_of(stamp: bytes) -> float:
    whole, _, fraction = stamp.decode().rstrip("Z").partition(".")
    return meta.parse_time(whole + "Z") + float(f"0.{fraction or 0}")


def tail_offset(path: str, lines: int) -> int:
    """Where the last `lines` whole lines (F entries) begin."""
    with open(path, "rb") as file:
        position = file.seek(0, os.SEEK_END)
        data = b""
        while position > 0:
            step = min(_BLOCK_SIZE_BYTES, position)
            position -= step
            file.seek(position)
            data = file.read(step) + data
            offset = _offset_of_last(data, lines, whole=position == 0)
            if offset is not None:
                return position + offset
    return 0


def _offset_of_last(data: bytes, lines: int, *, whole: bool) -> int | None:
    """None if `data` does not reach back far enough."""
    entries = data.splitlines(keepends=True)
    known = entries if whole else entries[1:]
    offset, found = len(data), 0
    for index in range(len(known) - 1, -1, -1):
        if _ends_line(known[index]) or index == len(known) - 1:
            found += 1
            if found > lines:
                return offset
        offset -= len(known[index])
    return 0 if whole else None


def _ends_line(entry: bytes) -> bool:
    parts = entry.split(b" ", 3)
    return len(parts) > 2 and parts[2] == b"F"


async def read(
    path: str, options: LogOptions, clock: Clock, is_running: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Chunks of text. With `follow`, until the container has ended and all was read.

    Raises FileNotFoundError if there is no log.
    """
    left, shown = options.limit_bytes, _Lines(options)
    async for entries in _entries(path, options, clock, is_running):
        chunk = b"".join(shown.text_of(entry) for entry in entries)
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if left == 0:
            return


async def _entries(
    path: str, options: LogOptions, clock: Clock, is_running: Callable[[], bool]
) -> AsyncIterator[list[bytes]]:
    offset = 0 if options.tail_lines is None else tail_offset(path, options.tail_lines)
    file = _open(path)
    try:
        file.seek(offset)
        rest = b""
        while True:
            running = options.follow and is_running()
            newer = _newer(path, file.fileno()) if options.follow else None
            while data := file.read(_BLOCK_SIZE_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                yield lines
                await asyncio.sleep(0)
            if newer is not None:
                file.close()
                file = newer
            elif running:
                await clock.sleep(_POLL_S)
            else:
                return
    finally:
        file.close()


def _open(path: str) -> BinaryIO:
    return open(path, "rb")


def _newer(path: str, descriptor: int) -> BinaryIO | None:
    """The file that the log went on in after this one; None if this is the one written to.

    It is opened at once: a moment later it may have another name. Nothing is written any more to
    what has been rotated, so whoever asked first and reads then misses nothing.
    """
    own = os.fstat(descriptor).st_ino
    newer: BinaryIO | None = None
    gap = False
    for name in _generations(path):
        try:
            file = _open(name)
        except FileNotFoundError:
            gap = True
            continue
        is_own = os.fstat(file.fileno()).st_ino == own
        discarded = file if is_own else newer
        if discarded is not None:
            discarded.close()
        if is_own:
            return None if gap else newer  # a gap: the files are being renamed just now
        newer = file
    return newer  # what came between is gone


def _generations(path: str) -> Iterator[str]:
    """The log and what was rotated, from new to old."""
    yield path
    for number in range(1, _GENERATIONS_MAX):
        yield f"{path}.{number}"


def last_text(path: str, lines: int, size_bytes_max: int) -> str:
    """The end of a log, for termination messages from logs; "" if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(tail_offset(path, lines))
            data = file.read()
    except FileNotFoundError:
        return ""
    text = b"".join(text_of(entry, LogOptions()) for entry in data.splitlines())
    return text[-size_bytes_max:].decode(errors="replace")
