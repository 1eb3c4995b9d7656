"""One turn of a pod: decide, alone or with its group and extenders; then bind, or tell why not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from actors.seams import Clock
from cluster.client import ClientError
from cluster.machinery.status import ApiError
from cluster.scheduler import consultation
from cluster.scheduler.binder import NotThere
from cluster.scheduler.binding import Binding
from cluster.scheduler.extenders import Extender, ExtenderError
from cluster.scheduler.followed import Followed
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.decision import Decision
from cluster.scheduler.framework.effects import Handle
from cluster.scheduler.framework.gang import schedule_group
from cluster.scheduler.framework.plugin import Nomination
from cluster.scheduler.metrics import Metrics
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.queue.queue import Waiting

log = logging.getLogger(__name__)

Work = Coroutine[Any, Any, None]
BROKEN = "running a scheduling plugin failed; the scheduler's log has more"


class Attempts:
    """Decisions are made at once, so that each sees those before it; the work that `begin` gives
    back writes them and may take long."""

    def __init__(
        self,
        clock: Clock,
        followed: Followed,
        cycles: Mapping[str, Cycle],
        handles: Mapping[str, Handle],
        extenders: Sequence[Extender],
    ) -> None:
        self._clock, self._followed = clock, followed
        self._cycles, self._handles = cycles, handles
        self._extenders = extenders
        self.metrics = Metrics()

    def begin(self, waiting: Waiting) -> Work:
        """For a pod that was taken from the queue. Never raises."""
        pod, since_s = waiting.pod, self._clock.now()
        cycle = self._cycles[pod.scheduler_name]
        try:
            for plugin in cycle.profile.groups:
                if (group := plugin.group(pod)) is not None:
                    members = self._members(waiting, cycle)
                    infos = [member.pod for member in members]
                    placed = self._placed(cycle, group.key)
                    decisions = schedule_group(cycle, infos, placed, group, plugin.name)
                    works = [self._settle(m, decisions[m.pod.uid], since_s) for m in members]
                    return _all(works)
            if interested := [e for e in self._extenders if e.interested(pod)]:
                return self._extended(waiting, cycle, interested, since_s)
            return self._settle(waiting, cycle.decide(pod), since_s)
        except Exception:
            log.exception("deciding about %s failed", pod.key)
            return self._broken(waiting, BROKEN, since_s)
        finally:
            self.metrics.algorithm.observe(self._clock.now() - since_s)

    # Groups

    def _members(self, waiting: Waiting, cycle: Cycle) -> list[Waiting]:
        """All of its group that wait, itself first."""
        members, queue = [waiting], self._followed.queue
        for pod in queue.pods():
            same = pod.uid != waiting.pod.uid and pod.scheduler_name == waiting.pod.scheduler_name
            if same and _group_key(cycle, pod) == _group_key(cycle, waiting.pod):
                member = queue.take(pod.key)
                members += [member] if member is not None else []
        return members

    def _placed(self, cycle: Cycle, key: str) -> int:
        return sum(_group_key(cycle, pod) == key for _, pod in self._followed.columns.placed())

    # Extenders

    async def _extended(
        self, waiting: Waiting, cycle: Cycle, extenders: Sequence[Extender], since_s: float
    ) -> None:
        try:
            decision = await consultation.decide(waiting.pod, cycle, extenders)
        except ExtenderError as error:
            await self._broken(waiting, str(error), since_s)
            return
        binds = next((extender for extender in extenders if extender.binds), None)
        await self._settle(waiting, decision, since_s, binds)

    # What follows from a decision

    def _settle(
        self, waiting: Waiting, decision: Decision, since_s: float, binds: Extender | None = None
    ) -> Work:
        pod = waiting.pod
        if not decision.node:
            rejected_by = decision.diagnosis.plugins if decision.diagnosis else ()
            self._followed.queue.park(waiting, rejected_by)
            self._nominate(pod, decision)
            self.metrics.attempted("unschedulable", pod.scheduler_name, self._since(since_s))
            return self._report(pod, decision)
        cycle, handle = self._cycles[pod.scheduler_name], self._handles[pod.scheduler_name]
        binding = Binding(handle, self._followed, cycle.profile, waiting, decision.node, binds)
        return self._bind(binding, binding.reserve(), waiting, since_s)

    def _since(self, since_s: float) -> float:
        return self._clock.now() - since_s

    def _nominate(self, pod: PodInfo, decision: Decision) -> None:
        """From now on, not only when the API has it, others leave room for the pod."""
        nomination = decision.nomination or Nomination(keeps=True)
        if nomination.node:
            self._followed.nominations.put(nomination.node, pod)
        elif not nomination.keeps:
            self._followed.nominations.remove(pod.uid)

    async def _bind(self, binding: Binding, refused: str, waiting: Waiting, since_s: float) -> None:
        pod = waiting.pod
        reason = refused or await binding.finish()
        result = "error" if reason else "scheduled"
        self.metrics.attempted(result, pod.scheduler_name, self._since(since_s))
        if reason:
            await self._tell(pod, reason, "SchedulerError")
        else:
            self.metrics.waited.observe(self._since(waiting.since_s))

    async def _broken(self, waiting: Waiting, message: str, since_s: float) -> None:
        self.metrics.attempted("error", waiting.pod.scheduler_name, self._since(since_s))
        self._followed.queue.retry(waiting)
        await self._tell(waiting.pod, message, "SchedulerError")

    async def _report(self, pod: PodInfo, decision: Decision) -> None:
        """Tell why, and make room if that was decided."""
        nomination = decision.nomination or Nomination(keeps=True)
        node = nomination.node or (None if nomination.keeps else "")
        told = await self._tell(pod, decision.message, "Unschedulable", node)
        if nomination.node and told:
            self.metrics.preemptions += 1
            self.metrics.victims += len(nomination.victims)
            await self._preempt(pod, nomination)

    async def _preempt(self, pod: PodInfo, nomination: Nomination) -> None:
        """Victims go; pods of lower priority that were to have this node look for another."""
        handle, node = self._handles[pod.scheduler_name], nomination.node
        nominations = self._followed.nominations
        for other in [*nominations.on(node)]:
            if other.priority < pod.priority:
                nominations.remove(other.uid)
                with contextlib.suppress(NotThere, ApiError, ClientError):
                    await handle.binder.patch_status(other.pod, {"nominatedNodeName": None})
        evictions = (
            handle.binder.evict(victim.pod, pod.pod, node, pod.scheduler_name)
            for victim in nomination.victims
        )
        for error in await asyncio.gather(*evictions, return_exceptions=True):
            if error is not None:
                log.warning("preempting for %s on %s failed: %s", pod.key, node, error)

    async def _tell(
        self, pod: PodInfo, message: str, reason: str, nominated: str | None = None
    ) -> bool:
        """Whether the API took it; otherwise it is told with the next attempt."""
        binder = self._handles[pod.scheduler_name].binder
        try:
            await binder.report_failure(pod.pod, message, reason, nominated)
        except (NotThere, ApiError, ClientError) as error:
            log.info("%s could not be told: %s", pod.key, error)
            return False
        return True


def _group_key(cycle: Cycle, pod: PodInfo) -> str:
    groups = (plugin.group(pod) for plugin in cycle.profile.groups)
    return next((group.key for group in groups if group is not None), "")


async def _all(works: Iterable[Work]) -> None:
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)
