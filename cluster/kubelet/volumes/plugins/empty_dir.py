"""emptyDir: a folder that lives as long as the pod; in memory, a tmpfs of its size limit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from cluster.kubelet.environment import ConfigError
from cluster.kubelet.runtimes import records
from cluster.kubelet.volumes import mounting
from cluster.kubelet.volumes.plugin import Placed, Wanted
from cluster.machinery import quantity

Object = dict[str, Any]


class EmptyDir:
    name = "kubernetes.io/empty-dir"

    def __init__(self, allocatable: Mapping[str, str]) -> None:
        self._allocatable = allocatable

    def owns(self, wanted: Wanted) -> bool:
        return True

    def supports(self, wanted: Wanted) -> bool:
        return wanted.source.get("emptyDir") is not None

    def plan(self, wanted: Wanted) -> Placed:
        medium = wanted.source["emptyDir"].get("medium") or ""
        if medium not in ("", "Memory"):
            raise ConfigError(f"volume {wanted.name}: medium {medium!r} is not there on this node")
        uid = wanted.pod["metadata"]["uid"]
        return Placed(self.name, uid, wanted.name, wanted.identity, wanted.folder)

    async def set_up(self, wanted: Wanted, placed: Placed) -> None:
        if not os.path.isdir(placed.path):
            os.makedirs(placed.path)
            os.chmod(placed.path, 0o777)
        in_memory = wanted.source["emptyDir"].get("medium") == "Memory"
        # Without root it is a folder all the same: what is in it does not outlive the pod either.
        if in_memory and os.geteuid() == 0 and not mounting.is_mounted(placed.path):
            size = self._size_bytes(wanted)
            await asyncio.to_thread(mounting.tmpfs, placed.path, size)

    def _size_bytes(self, wanted: Wanted) -> int | None:
        """The least of its own limit, the pod's memory and the node's; None: half of memory."""
        sizes = [wanted.source["emptyDir"].get("sizeLimit"), self._allocatable.get("memory")]
        found = [quantity.value(size) for size in sizes if size and quantity.value(size) > 0]
        return min([*found, *_memory_limits(wanted.pod)], default=None)

    async def tear_down(self, placed: Placed, last: bool) -> None:
        await asyncio.to_thread(mounting.unmount, placed.path)
        await asyncio.to_thread(records.remove_tree, placed.path)

    async def expand(self, wanted: Wanted, placed: Placed) -> int | None:
        return None


def _memory_limits(pod: Object) -> list[int]:
    """The sum of the containers' limits, if each of them has one."""
    limits: list[Any] = [
        ((container.get("resources") or {}).get("limits") or {}).get("memory")
        for container in pod["spec"].get("containers") or ()
    ]
    if not limits or None in limits:
        return []
    return [sum(quantity.value(limit) for limit in limits)]
