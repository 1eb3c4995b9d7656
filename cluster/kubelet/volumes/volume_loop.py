"""What happens to volumes while pods run: attached, grown, released.

Follows this node's own Node; claims and their volumes, which a node may not watch, are read again
from time to time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from actors.seams import Seams
from cluster.client import ClientError, Informer
from cluster.kubelet.volumes.local_holdings import LocalHoldings
from cluster.kubelet.volumes.manager import VolumeManager
from cluster.machinery import local_volumes
from cluster.machinery.status import ApiError

Object = dict[str, Any]

log = logging.getLogger(__name__)

RESYNC_S = 30.0
_RETRY_S = 2.0


class Pod(Protocol):
    def volumes_changed(self) -> None: ...


class VolumeLoop:
    def __init__(
        self,
        seams: Seams,
        node: Informer,
        holdings: LocalHoldings,
        volumes: VolumeManager,
        pods: Callable[[], Iterable[Pod]],
        resync_s: float = RESYNC_S,
    ) -> None:
        self._seams, self._node, self._resync_s = seams, node, resync_s
        self._holdings, self._volumes, self._pods = holdings, volumes, pods
        self._changed = asyncio.Event()
        self._begun = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._node.subscribe(self._on_node)
        self._tasks = [
            asyncio.create_task(self._follow(), name="volumes of the node"),
            asyncio.create_task(self._resync(), name="volumes resync"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_node(self, _kind: str, old: Object | None, new: Object | None) -> None:
        self._changed.set()
        attached = [((obj or {}).get("status") or {}).get("volumesAttached") for obj in (old, new)]
        if (attached[0] or []) != (attached[1] or []):
            self._look_again()

    def _look_again(self) -> None:
        for pod in list(self._pods()):
            pod.volumes_changed()

    async def _resync(self) -> None:
        while True:
            await self._seams.clock.sleep(self._resync_s * self._seams.randomness.uniform(0.9, 1.0))
            self._look_again()

    async def _follow(self) -> None:
        """Remove what is released, and try again where that could not be done yet."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if not self._begun:
                    await self._volumes.begin()
                    self._begun = True
                done = all([await self._holdings.follow(n, self._in_use) for n in self._own()])
            except (ApiError, ClientError) as error:
                log.warning("volumes of this node: %s", error)
                done = False
            if not done:
                self._seams.clock.call_later(_RETRY_S, self._changed.set)

    def _own(self) -> list[Object]:
        return list(self._node.list())

    def _in_use(self) -> set[str]:
        return self._volumes.handles_in_use(local_volumes.DRIVER)
