"""How full volumes are: as their driver says, or the file system that they are."""

from __future__ import annotations

import asyncio
import os
from typing import Protocol, runtime_checkable

from cluster.kubelet.stats.snapshot import VolumeUsage
from cluster.kubelet.volumes.plugin import Placed, Plugin


@runtime_checkable
class Measuring(Protocol):
    """A plugin that knows better than the file system."""

    async def usage(self, placed: Placed) -> tuple[int, int, int] | None: ...


async def measure(plugin: Plugin, placed: Placed) -> VolumeUsage | None:
    """None for what has no files, or is gone by now."""
    told = await plugin.usage(placed) if isinstance(plugin, Measuring) else None
    if told is not None:
        return VolumeUsage(placed.name, placed.claim, *told)
    try:
        found = await asyncio.to_thread(os.statvfs, placed.path)
    except OSError:
        return None
    size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    used = size - found.f_bfree * found.f_frsize
    counted = found.f_files, found.f_ffree
    return VolumeUsage(placed.name, placed.claim, size, free, used, *counted)
