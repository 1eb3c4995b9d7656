"""Reading and writing of pipes, terminals and sockets, only when somebody wants to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

READ_SIZE_BYTES = 256 * 1024
_DRAIN_S = 0.5


class Source:
    """Nothing is read before it is asked for, so whoever writes is stopped by a slow reader."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._ending = asyncio.Event()

    async def read(self) -> bytes:
        """What there is; b"" at the end."""
        while True:
            try:
                return os.read(self._descriptor, READ_SIZE_BYTES)
            except BlockingIOError:
                if not await self._wait():
                    return b""
            except OSError as error:
                if error.errno == errno.EIO:  # the last process has left the terminal
                    return b""
                raise

    async def _wait(self) -> bool:
        """Until there is more; False if there will be none."""
        ready = _ready(asyncio.get_running_loop().add_reader, self._descriptor)
        ending = asyncio.create_task(self._ended())
        try:
            both: list[asyncio.Future[None]] = [ready, ending]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                await asyncio.wait([ready], timeout=_DRAIN_S)
            return ready.done()
        finally:
            ending.cancel()
            asyncio.get_running_loop().remove_reader(self._descriptor)

    async def _ended(self) -> None:
        await self._ending.wait()

    def finish_soon(self) -> None:
        """The writer has ended: what children of it may still write is not waited for."""
        self._ending.set()

    def close(self) -> None:
        os.close(self._descriptor)


class Sink:
    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._closed = False

    async def write(self, data: bytes) -> None:
        """Waits for the reader. Raises ConnectionError (BrokenPipeError) if it is gone."""
        view = memoryview(data)
        while view and not self._closed:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                await self._wait()
            except OSError as error:
                raise BrokenPipeError(str(error)) from error

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await _ready(loop.add_writer, self._descriptor)
        finally:
            loop.remove_writer(self._descriptor)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


async def readable(descriptor: int) -> None:
    """Until there is something to read."""
    try:
        await _ready(asyncio.get_running_loop().add_reader, descriptor)
    finally:
        with contextlib.suppress(ValueError):
            asyncio.get_running_loop().remove_reader(descriptor)


def _ready(add: Callable[..., object], descriptor: int) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(descriptor, _settle, future)
    return future


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
