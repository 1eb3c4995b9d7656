"""One term of leadership: a fresh view of the cluster, and the loop over the queue."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError, EventRecorder, Informer
from cluster.client.informer import Handler
from cluster.machinery.status import ApiError
from cluster.scheduler.binder import Binder, NotThere, Session
from cluster.scheduler.binding import Binding
from cluster.scheduler.followed import CATALOGUED, Followed
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.decision import Decision
from cluster.scheduler.framework.effects import Handle
from cluster.scheduler.framework.plugin import Nomination
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.profiles import Settings
from cluster.scheduler.queue.queue import Waiting

log = logging.getLogger(__name__)


class Term:
    flush_every_s = 30.0
    in_flight = 500
    """Bindings that may be under way at once."""
    slice_s = 0.005
    """How long pods are decided for before everything else gets its turn."""

    def __init__(self, client: Client, seams: Seams, settings: Settings) -> None:
        self._seams = seams
        profiles = {profile.name: profile for profile in settings.profiles}
        backoff_s = (settings.first_backoff_s, settings.max_backoff_s)
        self._followed = Followed(seams.clock, profiles, backoff_s)
        self._queue, self._columns = self._followed.queue, self._followed.columns
        self._nominations = nominations = self._followed.nominations
        choose = seams.randomness.randrange
        self._cycles = {
            name: Cycle(self._columns, profile, nominations, choose)
            for name, profile in profiles.items()
        }
        self._informers = self._follow(client)
        self._session = Session(seams.randomness.randbytes(8).hex())
        self._events = {name: EventRecorder(client, seams, name) for name in profiles}
        self._handles = {
            name: Handle(self._columns, client, seams, self._binder(client, events))
            for name, events in self._events.items()
        }
        self._slots = asyncio.Semaphore(self.in_flight)
        self._bound = self._failed = 0

    def _follow(self, client: Client) -> list[Informer]:
        handlers: dict[str, Handler] = {
            "nodes": self._followed.on_node,
            "namespaces": self._followed.on_namespace,
            **{n: functools.partial(self._followed.on_object, n) for n in CATALOGUED},
            "pods": self._followed.on_pod,
        }
        informers = []
        for resource, handler in handlers.items():
            informer = Informer(client, resource)
            informer.subscribe(handler)
            informers.append(informer)
        return informers

    def _binder(self, client: Client, events: EventRecorder) -> Binder:
        pods = self._informers[-1]
        return Binder(client, self._seams, events, self._session, lambda: pods.version)

    def facts(self) -> dict[str, Any]:
        assumed = len(self._followed.assumed)
        counts = {"bound": self._bound, "failed": self._failed, "assumed": assumed}
        return {"nodes": len(self._columns), **counts, **self._queue.counts}

    async def run(self) -> None:
        *others, pods = self._informers
        for informer in others:
            informer.start()
        for recorder in self._events.values():
            recorder.start()
        try:
            await asyncio.gather(*(informer.synced() for informer in others))
            pods.start()
            await pods.synced()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._flush())
                await self._schedule_for_ever(group)
        finally:
            parts: list[Informer | EventRecorder] = [*self._informers, *self._events.values()]
            await asyncio.gather(*(part.stop() for part in parts))

    async def _flush(self) -> None:
        while True:
            await self._seams.clock.sleep(self.flush_every_s)
            self._queue.flush()

    async def _schedule_for_ever(self, group: asyncio.TaskGroup) -> None:
        while True:
            waiting: Waiting | None = await self._queue.pop()
            end_s = self._seams.clock.now() + self.slice_s
            while waiting is not None:
                await self._slots.acquire()
                self._schedule(group, waiting)
                late = self._seams.clock.now() >= end_s
                waiting = None if late else self._queue.pop_now()
            await asyncio.sleep(0)

    def _schedule(self, group: asyncio.TaskGroup, waiting: Waiting) -> None:
        """Decide now; a task writes the decision."""
        pod = waiting.pod
        cycle = self._cycles[pod.scheduler_name]
        decision = cycle.decide(pod)
        if not decision.node:
            self._failed += 1
            rejected_by = decision.diagnosis.plugins if decision.diagnosis else ()
            self._queue.park(waiting, rejected_by)
            self._nominate(pod, decision)
            task = group.create_task(self._report(pod, decision))
        else:
            handle = self._handles[pod.scheduler_name]
            binding = Binding(handle, self._followed, cycle.profile, waiting, decision.node)
            refused = binding.reserve()
            task = group.create_task(self._bind(binding, pod, refused))
        task.add_done_callback(lambda _: self._slots.release())

    def _nominate(self, pod: PodInfo, decision: Decision) -> None:
        """From now on, not only when the API has it, others leave room for the pod."""
        nomination = decision.nomination or Nomination(keeps=True)
        if nomination.node:
            self._nominations.put(nomination.node, pod)
        elif not nomination.keeps:
            self._nominations.remove(pod.uid)

    async def _bind(self, binding: Binding, pod: PodInfo, refused: str) -> None:
        reason = refused or await binding.finish(self._count)
        if reason:
            await self._tell(pod, reason, "SchedulerError")

    def _count(self) -> None:
        self._bound += 1

    async def _report(self, pod: PodInfo, decision: Decision) -> None:
        """Tell why, and make room if that was decided."""
        nomination = decision.nomination or Nomination(keeps=True)
        node = nomination.node or (None if nomination.keeps else "")
        told = await self._tell(pod, decision.message, "Unschedulable", node)
        if nomination.node and told:
            await self._preempt(pod, nomination)

    async def _preempt(self, pod: PodInfo, nomination: Nomination) -> None:
        """Victims go; pods of lower priority that were to have this node look for another."""
        handle, node = self._handles[pod.scheduler_name], nomination.node
        for other in [*self._nominations.on(node)]:
            if other.priority < pod.priority:
                self._nominations.remove(other.uid)
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
