"""The pages, measured when they are asked for."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from actors.seams import Seams
from cluster.kubelet.runtimes.base import Runtime
from cluster.kubelet.stats import exposition, node_usage, summary
from cluster.kubelet.stats.snapshot import (
    ContainerUsage,
    PodUsage,
    Snapshot,
    VolumeUsage,
    rates,
)

Object = dict[str, Any]
Page = Callable[[], Awaitable[tuple[bytes, str]]]
"""Gives a body and its content type."""

KEPT_S = 1.0
"""Several askers at once share one measurement."""
BASE_S = 10.0
"""Rates of the summary are over about this span."""


async def _no_volumes(_uid: str) -> tuple[VolumeUsage, ...]:
    return ()


class StatsPages:
    def __init__(
        self,
        seams: Seams,
        runtime: Runtime,
        pods: Callable[[], Sequence[Object]],
        node_name: str,
        folder: str,
        volumes: Callable[[str], Awaitable[tuple[VolumeUsage, ...]]] = _no_volumes,
    ) -> None:
        """`folder`: where the kubelet keeps its pods; `volumes`: of the pod with this uid."""
        self._volumes = volumes
        self._seams, self._runtime, self._pods = seams, runtime, pods
        self._name, self._folder = node_name, folder
        self._newest: Snapshot | None = None
        self._base: Snapshot | None = None
        self._measuring = asyncio.Lock()

    @property
    def pages(self) -> Mapping[str, Page]:
        return {
            "/stats/summary": self._summary,
            "/metrics": self._own,
            "/metrics/resource": self._resource,
            "/metrics/cadvisor": self._cadvisor,
        }

    async def _summary(self) -> tuple[bytes, str]:
        now = await self._measured()
        body = json.dumps(summary.document(now, rates(now, self._base))).encode()
        return body, "application/json"

    async def _resource(self) -> tuple[bytes, str]:
        return exposition.resource(await self._measured()), exposition.TYPE

    async def _cadvisor(self) -> tuple[bytes, str]:
        return exposition.cadvisor(await self._measured()), exposition.TYPE

    async def _own(self) -> tuple[bytes, str]:
        return exposition.own(await self._measured(), _process()), exposition.TYPE

    async def _measured(self) -> Snapshot:
        async with self._measuring:
            newest, now_s = self._newest, self._seams.clock.wall()
            if newest is not None and 0 <= now_s - newest.at_s < KEPT_S:
                return newest
            if self._base is None or now_s - self._base.at_s > BASE_S:
                self._base = newest
            self._newest = await self._measure()
            return self._newest

    async def _measure(self) -> Snapshot:
        node = await asyncio.to_thread(node_usage.read, self._folder)
        usage = await self._runtime.usage()
        pods = []
        for pod in self._pods():
            found = self._runtime.containers(pod["metadata"]["uid"])
            running = [ContainerUsage(c, usage[c.container_id]) for c in found
                       if c.container_id in usage]  # fmt: skip
            volumes = await self._volumes(pod["metadata"]["uid"])
            pods.append(PodUsage(pod, tuple(running), volumes))
        return Snapshot(self._seams.clock.wall(), self._name, node, tuple(pods))


def _process() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "process_cpu_seconds_total": used.ru_utime + used.ru_stime,
        "process_resident_memory_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "process_open_fds": len(os.listdir("/proc/self/fd")),
    }
