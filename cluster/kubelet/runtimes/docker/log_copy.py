"""Copies what a Docker daemon keeps of a container's output to a CRI log, as it is written.

Lines that are there already (from before a restart of the kubelet) are known by their time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

from cluster.kubelet.runtimes.docker.engine import Answer, Engine
from cluster.kubelet.runtimes.docker.messages import time_of
from cluster.kubelet.runtimes.docker.streaming import STDERR

_LAST_SIZE_BYTES = 64 * 1024


class LogCopy:
    """PATH is written to; PATH.1 is the newest that was rotated."""

    def __init__(self, engine: Engine, size_bytes_max: int, files_max: int) -> None:
        self._engine = engine
        self._size_bytes_max, self._files_max = size_bytes_max, files_max

    async def run(self, container_id: str, path: str, *, tty: bool) -> None:
        """To the end of the container. Raises EngineError."""
        last = _last_stamp(path)
        query = {"follow": "1", "stdout": "1", "stderr": "1", "timestamps": "1"}
        if last:
            query["since"] = f"{time_of(last):.9f}"
        where = f"/containers/{container_id}/logs"
        async with self._engine.open("GET", where, query) as answer:
            async for stream, line in _lines(answer, tty=tty):
                stamp, _, text = line.partition(b" ")
                if stamp.decode() > last:
                    self._append(path, stamp, stream, text)

    def _append(self, path: str, stamp: bytes, stream: bytes, text: bytes) -> None:
        tag = b"F" if text.endswith(b"\n") else b"P"
        with open(path, "ab") as file:
            file.write(b" ".join([stamp, stream, tag, text.rstrip(b"\n")]) + b"\n")
            is_full = file.tell() >= self._size_bytes_max
        if is_full:
            self._shift(path)

    def _shift(self, path: str) -> None:
        for number in range(self._files_max - 2, -1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}.{number}" if number else path, f"{path}.{number + 1}")


async def _lines(answer: Answer, *, tty: bool) -> AsyncIterator[tuple[bytes, bytes]]:
    """(stream, time and text); a part of a long line comes without a line feed."""
    chunks = _Chunks(answer)
    if not tty:
        while (frame := await chunks.frame()) is not None:
            yield b"stderr" if frame[0] == STDERR else b"stdout", frame[1]
        return
    while line := await chunks.line():
        yield b"stdout", line


class _Chunks:
    """The pieces of a body, cut anew."""

    def __init__(self, answer: Answer) -> None:
        self._pieces = answer.pieces()
        self._held = b""

    async def _more(self) -> bool:
        piece = await anext(self._pieces, b"")
        self._held += piece
        return bool(piece)

    async def frame(self) -> tuple[int, bytes] | None:
        while True:
            size = int.from_bytes(self._held[4:8], "big")
            if len(self._held) >= 8 + size and len(self._held) >= 8:
                stream, data = self._held[0], self._held[8 : 8 + size]
                self._held = self._held[8 + size :]
                return stream, data
            if not await self._more():
                return None

    async def line(self) -> bytes:
        while b"\n" not in self._held:
            if not await self._more():
                rest, self._held = self._held, b""
                return rest
        line, _, self._held = self._held.partition(b"\n")
        return line + b"\n"


def _last_stamp(path: str) -> str:
    """Of the last line that was written, "" if there is none."""
    for name in (path, f"{path}.1"):
        with contextlib.suppress(FileNotFoundError), open(name, "rb") as file:
            file.seek(max(0, os.stat(name).st_size - _LAST_SIZE_BYTES))
            lines = file.read().splitlines()
            if lines:
                return lines[-1].partition(b" ")[0].decode()
    return ""
