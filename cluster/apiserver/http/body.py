"""The body of a request that is passed on while it arrives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

HIGH_WATER_BYTES = 256 * 1024


class BodyStream:
    """Holds about 256 KiB; then `pause` is called, and `resume` once there is room again."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause, self._resume = pause, resume
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = self._broken = False
        self._changed = asyncio.Event()

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HIGH_WATER_BYTES:
            self._pause()
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    def broke(self) -> None:
        """The client has gone; if all had come that makes no difference."""
        self._broken = not self._ended
        self._changed.set()

    async def read(self) -> bytes:
        """What has come, b"" at the end. Raises ConnectionError if the client has gone."""
        while not self._pieces:
            if self._broken:
                raise ConnectionResetError("the client went away")
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held_bytes = 0
        self._resume()
        return data
