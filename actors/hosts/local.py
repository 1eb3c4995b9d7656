"""The local host: every actor in this process, for tests and for debugging in one place.

A kill is as abrupt as one process allows: the components' tasks are not told to stop in order,
their `stop` only releases sockets and files.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from typing import Any

from actors.component import ActorSpec, Health
from actors.group import ComponentGroup
from actors.seams import Seams


class LocalActor:
    def __init__(self, spec: ActorSpec, seams: Seams) -> None:
        self._group = ComponentGroup(spec, seams)
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pid = os.getpid()

    async def start(self) -> Mapping[str, Any]:
        return await self._group.start()

    async def ended(self) -> str:
        return await asyncio.shield(self._ended)

    async def health(self) -> Health:
        return await self._group.health()

    async def stop(self) -> None:
        await self._group.stop()
        self._end("stopped")

    async def kill(self) -> None:
        with contextlib.suppress(Exception):  # it is dead to everyone whatever its stop says
            await self._group.stop()
        self._end("killed")

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)


class LocalHost:
    """Spawns actors in the running event loop."""

    def __init__(self, seams: Seams) -> None:
        self._seams = seams

    async def spawn(self, spec: ActorSpec) -> LocalActor:
        return LocalActor(spec, self._seams)
