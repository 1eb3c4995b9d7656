"""Looks at the node every few seconds, tells its conditions, makes room, ends one pod at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actors.seams import Seams
from cluster.kubelet.eviction import local_storage, measured, ranking
from cluster.kubelet.eviction.disk import Taken
from cluster.kubelet.eviction.pressure import Pressure
from cluster.kubelet.eviction.ranking import Candidate
from cluster.kubelet.eviction.thresholds import CONDITIONS, RESOURCES, Observed, Threshold
from cluster.kubelet.runtimes.base import Runtime, Usage

Object = dict[str, Any]

log = logging.getLogger(__name__)

REASON = "Evicted"
_MEMORY_PRESSURE_TAINT = "node.kubernetes.io/memory-pressure"


class Endable(Protocol):
    """A pod that runs on this node: a PodRunner."""

    pod: Object
    uid: str

    @property
    def is_ending(self) -> bool:
        """Whether `end` was called."""
        ...

    @property
    def is_over(self) -> bool: ...

    def end(self, reason: str, message: str, grace_s: float) -> None: ...


@dataclass(frozen=True)
class Settings:
    """`transition_s`: how long a condition stays after the pressure has gone."""

    thresholds: Sequence[Threshold]
    period_s: float = 10.0
    transition_s: float = 300.0
    grace_max_s: float = 30.0
    """For pods that go because of a soft threshold."""


class EvictionManager:
    """`observe` gives the signals; `reclaim` makes room on the disk without ending pods."""

    def __init__(
        self,
        seams: Seams,
        settings: Settings,
        data_dir: str,
        runtime: Runtime,
        runners: Callable[[], Sequence[Endable]],
        observe: Callable[[], Mapping[str, Observed]],
        on_conditions: Callable[[], Awaitable[None]],
        reclaim: Callable[[], Awaitable[None]],
    ) -> None:
        self._seams, self._settings, self._data_dir = seams, settings, data_dir
        self._runtime, self._runners = runtime, runners
        self._observe, self._on_conditions, self._reclaim = observe, on_conditions, reclaim
        self._pressure = Pressure()
        self._told: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="eviction")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def conditions(self) -> frozenset[str]:
        """MemoryPressure and so on, those that hold."""
        now_s = self._seams.clock.now()
        return self._pressure.conditions(now_s, self._settings.transition_s)

    def refusal(self, pod: Object) -> tuple[str, str] | None:
        """(reason, message) for a pod that would add to the pressure there is."""
        held = self.conditions
        if not held or ranking.is_critical(pod):
            return None
        if held == {"MemoryPressure"} and _stands_memory_pressure(pod):
            return None
        return REASON, f"The node had condition: [{' '.join(sorted(held))}]. "

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except OSError as error:
                log.warning("the node's resources could not be looked at: %s", error)
            await self._seams.clock.sleep(self._settings.period_s)

    async def look(self) -> None:
        """One pass."""
        found = await asyncio.to_thread(self._observe)
        now_s = self._seams.clock.now()
        self._pressure = self._pressure.after(found, self._settings.thresholds, now_s)
        if self.conditions != self._told:
            log.warning("conditions of the node: %s", sorted(self.conditions) or "none")
            self._told = self.conditions
            await self._on_conditions()
        candidates = await self._candidates()
        if any(runner.is_ending and not runner.is_over for runner in self._runners()):
            return  # what it gives back has to be seen first
        due = self._pressure.due(now_s)
        if due is not None and not await self._made_room(due):
            self._evict_one(candidates, due, found[due.signal])

    async def _made_room(self, due: Threshold) -> bool:
        """Whether the disk is fine again without what no container needs."""
        if CONDITIONS[due.signal] != "DiskPressure":
            return False
        await self._reclaim()
        found = await asyncio.to_thread(self._observe)
        return not due.is_met(found[due.signal], before=True)

    def _evict_one(self, candidates: Sequence[Candidate], due: Threshold, found: Observed) -> None:
        runners = {runner.uid: runner for runner in self._runners()}
        for each in ranking.ranked(candidates, RESOURCES[due.signal]):
            runner = runners.get(each.pod["metadata"]["uid"])
            if runner is not None and not ranking.is_critical(each.pod):
                grace_s = 0.0 if due.is_hard else self._settings.grace_max_s
                runner.end(REASON, ranking.message(each, due, found), grace_s)
                return
        log.warning("%s is at %d, and no pod can be ended for it", due.signal, found.available)

    async def _candidates(self) -> list[Candidate]:
        """The pods that run. Those that use more disk than they may are ended on the way."""
        usage = await self._runtime.usage()
        found = []
        for runner in self._runners():
            if runner.is_ending or runner.is_over:
                continue
            volumes = await asyncio.to_thread(measured.volumes, self._data_dir, runner.pod)
            layers = await asyncio.to_thread(measured.layers, self._data_dir, runner.pod)
            text = local_storage.violation(runner.pod, measured.disk_usage(volumes, layers))
            if text and not ranking.is_critical(runner.pod):
                runner.end(REASON, text, self._settings.grace_max_s)
                continue
            total = sum(volumes.values(), start=Taken())
            found.append(measured.candidate(runner.pod, self._usages(runner, usage), total, layers))
        return found

    def _usages(self, runner: Endable, usage: Mapping[str, Usage]) -> dict[str, Usage]:
        containers = self._runtime.containers(runner.uid)
        return {c.name: usage[c.container_id] for c in containers if c.container_id in usage}


def _stands_memory_pressure(pod: Object) -> bool:
    """Pods that asked for memory, and those that say that they tolerate it."""
    if (pod.get("status") or {}).get("qosClass") != "BestEffort":
        return True
    return any(map(_tolerates, pod["spec"].get("tolerations") or ()))


def _tolerates(toleration: Object) -> bool:
    key, exists = toleration.get("key") or "", toleration.get("operator") == "Exists"
    fits = key == _MEMORY_PRESSURE_TAINT or (not key and exists)
    return fits and toleration.get("effect") in (None, "", "NoSchedule")
