"""Many watches held by one cheap process (`watch_reader.c`), which counts what they receive."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import subprocess
from collections.abc import AsyncIterator, Mapping

READER = "watch_reader"


class Reader:
    """What has come so far."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self.events = self.bytes = 0
        self.changed = asyncio.Event()
        self._output = output

    async def run(self) -> None:
        while line := await self._output.readline():
            self.events, self.bytes = map(int, line.split())
            self.changed.set()
        raise RuntimeError("a watch has ended")

    async def wait(self, events: int) -> None:
        """Until so many have come. Raises TimeoutError."""
        async with asyncio.timeout(60):
            while self.events < events:
                self.changed.clear()
                await self.changed.wait()


def compile_reader(folder: pathlib.Path) -> None:
    source = pathlib.Path(__file__).with_name(f"{READER}.c")
    command = ["cc", "-O2", "-o", folder / READER, source, "-lssl", "-lcrypto"]
    subprocess.run(command, check=True)


@contextlib.asynccontextmanager
async def watching(
    folder: pathlib.Path, host: str, port: str, user: Mapping[str, str], target: str, number: int
) -> AsyncIterator[Reader]:
    """So many watches of one target; all of them are answered at the start."""
    command = [str(folder / READER), host, port, user["cert"], user["key"], str(number), target]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    reader = Reader(process.stdout)
    reading = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        reading.cancel()
        process.kill()
        await process.wait()
