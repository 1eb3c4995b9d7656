"""Helpers of the kind `helpers.session`, one of them started ahead while commands keep coming.

Most of a command's start is the start of Python. Once a command was run, a spare helper waits for
the next one; it ends when none has come for a while, or when the kubelet ends.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

SPARE_S = 60.0


@dataclass(frozen=True)
class Helper:
    """`control` is the kubelet's end of the helper's standard input; closed, it ends it."""

    process: asyncio.subprocess.Process
    control: socket.socket

    @property
    def usable(self) -> bool:
        return self.process.returncode is None

    async def end(self) -> None:
        self.control.close()
        await self.process.wait()


Launch = Callable[[int], Awaitable[asyncio.subprocess.Process]]
"""Starts a helper with this descriptor as its standard input."""


class SessionHelpers:
    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._spare: asyncio.Task[Helper] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def take(self) -> Helper:
        """The spare one, or a new one; it is the caller's from then on."""
        spare = self._forget()
        if spare is not None:
            helper = await spare
            if helper.usable:
                return helper
            await helper.end()
        return await self._start()

    def keep_spare(self) -> None:
        """Start one ahead; called when the helper that was taken has done its part."""
        if self._spare is None:
            self._spare = asyncio.create_task(self._start(), name="spare helper")
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SPARE_S, self._expire)

    def _forget(self) -> asyncio.Task[Helper] | None:
        spare, self._spare = self._spare, None
        if self._timer is not None:
            self._timer.cancel()
        return spare

    def _expire(self) -> None:
        task = asyncio.create_task(self.close(), name="spare helper ends")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _start(self) -> Helper:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            return Helper(await self._launch(theirs.fileno()), ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    async def close(self) -> None:
        """End the spare."""
        spare = self._forget()
        if spare is not None:
            await (await spare).end()
