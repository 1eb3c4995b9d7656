"""Connections that exec and attach take over: `interactive.Running` over the Engine API.

Without a terminal output comes in frames: stream (1 byte), three zeros, length (4), payload.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from cluster.kubelet.runtimes.interactive import Pieces, Wanted

STDOUT, STDERR = 1, 2
_HEADER_BYTES = 8
Resize = Callable[[int, int], Awaitable[object]]
Ended = Callable[[], Awaitable[int]]


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes] | None:
    """(stream, payload); None at the end."""
    try:
        header = await reader.readexactly(_HEADER_BYTES)
        return header[0], await reader.readexactly(int.from_bytes(header[4:], "big"))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class _Input:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()


class Taken:
    """`ended` tells the exit code once all has been said."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        wanted: Wanted,
        resize: Resize,
        ended: Ended,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._resize, self._ended, self._tty = resize, ended, wanted.tty
        self.stdin = _Input(writer) if wanted.stdin else None
        self.stdout = Pieces() if wanted.stdout else None
        self.stderr = Pieces() if wanted.stderr and not wanted.tty else None
        self._pump = asyncio.create_task(self._distribute(), name="docker stream")
        self._resizing: set[asyncio.Task[None]] = set()

    async def _distribute(self) -> None:
        outputs = {STDOUT: self.stdout, STDERR: self.stderr}
        with contextlib.suppress(ConnectionError):
            while (frame := await self._next()) is not None:
                output = outputs.get(frame[0])
                if output is not None and frame[1]:
                    await output.put(frame[1])
        for output in outputs.values():
            if output is not None:
                await output.put(b"")

    async def _next(self) -> tuple[int, bytes] | None:
        if not self._tty:
            return await read_frame(self._reader)
        data = await self._reader.read(65536)
        return (STDOUT, data) if data else None

    def resize(self, columns: int, rows: int) -> None:
        task = asyncio.create_task(self._tell_size(columns, rows), name="resize")
        self._resizing.add(task)
        task.add_done_callback(self._resizing.discard)

    async def _tell_size(self, columns: int, rows: int) -> None:
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            await self._resize(columns, rows)

    async def wait(self) -> int:
        await asyncio.wait([self._pump])
        return await self._ended()

    async def close(self) -> None:
        tasks = [self._pump, *self._resizing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._writer.close()
