"""The embedded provisioner `raykube.io/local`: volumes that this node makes and removes itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cluster.kubelet.volumes import mounting
from cluster.kubelet.volumes.local_store import LocalStore
from cluster.kubelet.volumes.plugin import Placed, Wanted
from cluster.machinery import local_volumes, quantity


class LocalDriver:
    name = local_volumes.DRIVER

    def __init__(self, store: LocalStore, announce: Callable[[str], Awaitable[None]]) -> None:
        """`announce` returns once the API knows that this node holds the volume."""
        self._store = store
        self._announce = announce

    def owns(self, wanted: Wanted) -> bool:
        return True

    def supports(self, wanted: Wanted) -> bool:
        return wanted.volume is not None and local_volumes.is_local(wanted.volume)

    def plan(self, wanted: Wanted) -> Placed:
        handle = wanted.source["csi"]["volumeHandle"]
        path = self._store.mount_point(handle, block=wanted.block)
        details = {"handle": handle}
        uid = wanted.pod["metadata"]["uid"]
        return Placed(
            self.name, uid, wanted.name, wanted.identity, path, wanted.read_only, details=details
        )

    async def set_up(self, wanted: Wanted, placed: Placed) -> None:
        attributes = wanted.source["csi"].get("volumeAttributes") or {}
        limited = attributes.get(local_volumes.SIZE_LIMIT) != "off" and mounting.can_loop()
        handle = placed.details["handle"]
        await self._announce(handle)
        await asyncio.to_thread(
            self._store.make, handle, _size_bytes(wanted), block=wanted.block, limited=limited
        )

    async def tear_down(self, placed: Placed, last: bool) -> None:
        if last:
            await asyncio.to_thread(self._store.leave, placed.details["handle"])

    async def expand(self, wanted: Wanted, placed: Placed) -> int | None:
        handle, size_bytes = placed.details["handle"], _size_bytes(wanted)
        return await asyncio.to_thread(self._store.grow, handle, size_bytes, block=wanted.block)


def _size_bytes(wanted: Wanted) -> int:
    return quantity.value(wanted.source["capacity"]["storage"])
