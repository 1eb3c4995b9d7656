"""One term of leadership: a fresh view of the cluster, and the loop over the queue."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError, EventRecorder, Informer
from cluster.client.informer import Handler
from cluster.machinery.status import ApiError
from cluster.scheduler.attempts import Attempts
from cluster.scheduler.binder import Binder, Session
from cluster.scheduler.extenders import Extender
from cluster.scheduler.followed import CATALOGUED, Followed
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.effects import Handle
from cluster.scheduler.plugins.profiles import Settings
from cluster.scheduler.queue.queue import Waiting

DEVICES = "/apis/resource.k8s.io/v1"


class Term:
    flush_every_s = 30.0
    in_flight = 500
    """Bindings that may be under way at once."""
    overdue_s = 60.0
    """How long after a binding the API may be silent about it."""
    slice_s = 0.005
    """How long pods are decided for before everything else gets its turn."""

    def __init__(self, client: Client, seams: Seams, settings: Settings) -> None:
        self._client, self._seams = client, seams
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
        self._extenders = [Extender(given, seams) for given in settings.extenders]
        self._attempts = Attempts(
            seams.clock, self._followed, self._cycles, self._handles, self._extenders
        )
        self._slots = asyncio.Semaphore(self.in_flight)

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

    async def _leave_out_what_is_not_served(self) -> None:
        """An older API server knows no devices: there is nothing to follow then."""
        status = 0
        with contextlib.suppress(ClientError):
            status = (await self._client.raw("GET", DEVICES)).status
        if status == 404:
            group = DEVICES.split("/")[2]
            self._informers = [i for i in self._informers if i.resource.group != group]

    def _binder(self, client: Client, events: EventRecorder) -> Binder:
        pods = self._informers[-1]
        return Binder(client, self._seams, events, self._session, lambda: pods.version)

    def facts(self) -> dict[str, Any]:
        attempts: Counter[str] = Counter()
        for (result, _), count in self._attempts.metrics.attempts.items():
            attempts[result] += count
        assumed = len(self._followed.assumed)
        counts = {"bound": attempts["scheduled"], "failed": attempts["unschedulable"]}
        return {"nodes": len(self._columns), "assumed": assumed, **counts, **self._queue.counts}

    def metrics(self) -> Iterable[str]:
        return self._attempts.metrics.lines(self._queue.counts)

    async def run(self) -> None:
        await self._leave_out_what_is_not_served()
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
            await asyncio.gather(*(extender.close() for extender in self._extenders))

    async def _flush(self) -> None:
        while True:
            await self._seams.clock.sleep(self.flush_every_s)
            self._queue.flush()
            await self._confirm()

    async def _confirm(self) -> None:
        """Ask about pods whose bindings the API has not told of for long: they may be gone."""
        for uid, pod in self._followed.overdue(self._seams.clock.now() - self.overdue_s):
            handle = self._handles[pod.scheduler_name]
            with contextlib.suppress(ApiError, ClientError):
                found = await handle.binder.find(pod.pod)
                self._followed.confirm(uid, pod, found)

    async def _schedule_for_ever(self, group: asyncio.TaskGroup) -> None:
        while True:
            waiting: Waiting | None = await self._queue.pop()
            end_s = self._seams.clock.now() + self.slice_s
            while waiting is not None:
                await self._slots.acquire()
                task = group.create_task(self._attempts.begin(waiting))
                task.add_done_callback(lambda _: self._slots.release())
                late = self._seams.clock.now() >= end_s
                waiting = None if late else self._queue.pop_now()
            await asyncio.sleep(0)
