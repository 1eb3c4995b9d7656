"""The scheduler component: one of several replicas leads and gives pods their nodes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError, Elected, EventRecorder, Informer
from cluster.machinery import meta
from cluster.machinery.status import ApiError
from cluster.scheduler.binder import Binder
from cluster.scheduler.columns import Columns
from cluster.scheduler.framework import decide
from cluster.scheduler.plugins.scheduling_gates import SchedulingGates
from cluster.scheduler.profiles import default_profile
from cluster.scheduler.queue import SchedulingQueue, Waiting
from cluster.scheduler.requests import PodRequest

log = logging.getLogger(__name__)

Object = dict[str, Any]


class Scheduler(Elected):
    """Config: `Elected`'s."""

    lease_name = "kube-scheduler"

    def __init__(self) -> None:
        super().__init__()
        self._term: Term | None = None

    def facts(self) -> Mapping[str, Any]:
        return self._term.facts() if self._term is not None else {}

    async def lead(self, client: Client) -> None:
        self._term = Term(client, self._seams)
        try:
            await self._term.run()
        finally:
            self._term = None


class Term:
    """One term of leadership: a fresh view of nodes and pods, and the loop over the queue.

    Everything here runs on one event loop, so the columns are always consistent between awaits.
    """

    flush_every_s = 30.0

    def __init__(self, client: Client, seams: Seams) -> None:
        self._seams = seams
        self._profile = default_profile()
        self._gates = SchedulingGates()
        self._columns = Columns()
        self._queue = SchedulingQueue(seams.clock)
        self._pods = Informer(client, "pods")
        self._nodes = Informer(client, "nodes")
        self._events = EventRecorder(client, seams, self._profile.name)
        self._binder = Binder(client, seams, self._events)
        self._assumed: set[str] = set()
        self._bound = self._failed = 0

    def facts(self) -> dict[str, Any]:
        counts = {"bound": self._bound, "failed": self._failed, "assumed": len(self._assumed)}
        return {"nodes": len(self._columns), **counts, **self._queue.counts}

    async def run(self) -> None:
        self._nodes.subscribe(self._on_node)
        self._pods.subscribe(self._on_pod)
        self._nodes.start()
        self._pods.start()
        self._events.start()
        try:
            await self._nodes.synced()
            await self._pods.synced()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._flush())
                await self._schedule_for_ever(group)
        finally:
            await asyncio.gather(self._nodes.stop(), self._pods.stop(), self._events.stop())

    async def _flush(self) -> None:
        while True:
            await self._seams.clock.sleep(self.flush_every_s)
            self._queue.flush()

    # What the informers tell

    def _on_node(self, kind: str, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._columns.put_node(new)
        elif old is not None:
            self._columns.remove_node(old["metadata"]["name"])
        if kind == "add" or _matters(old, new):
            self._queue.move_all()

    def _on_pod(self, kind: str, old: Object | None, new: Object | None) -> None:
        pod = new or old or {}
        uid = pod["metadata"]["uid"]
        if new is None or _finished(new):
            self._forget(meta.key(pod), uid)
        elif node := new["spec"].get("nodeName"):
            self._assumed.discard(uid)
            self._queue.remove(meta.key(new))
            self._columns.put_pod(node, PodRequest.of(new))
        elif self._is_mine(new):
            self._enqueue(old, new)

    def _forget(self, key: str, uid: str) -> None:
        """It is gone or has ended. A binding under way finds that out by itself."""
        self._queue.remove(key)
        self._assumed.discard(uid)
        if self._columns.remove_pod(uid):
            self._queue.move_all()

    def _is_mine(self, pod: Object) -> bool:
        wanted = pod["spec"].get("schedulerName") or self._profile.name
        return bool(wanted == self._profile.name)

    def _enqueue(self, old: Object | None, new: Object) -> None:
        uid, key = new["metadata"]["uid"], meta.key(new)
        if new["metadata"].get("deletionTimestamp") or not self._gates.admits(new):
            self._queue.remove(key)
        elif uid not in self._assumed and (old is None or old["spec"] != new["spec"]):
            self._queue.add(key, uid, int(new["spec"].get("priority") or 0))

    # The scheduling cycle

    async def _schedule_for_ever(self, group: asyncio.TaskGroup) -> None:
        while True:
            waiting = await self._queue.pop()
            pod = self._pods.get(waiting.key)
            if pod is None or pod["metadata"]["uid"] != waiting.uid:
                self._queue.remove(waiting.key)
                continue
            group.create_task(self._schedule(waiting, pod))
            await asyncio.sleep(0)

    def _schedule(self, waiting: Waiting, pod: Object) -> Coroutine[Any, Any, None]:
        """Decide now; the coroutine that is returned writes the decision."""
        request = PodRequest.of(pod)
        decision = decide(self._columns, request, self._profile)
        if not decision.best:
            self._failed += 1
            self._queue.park(waiting)
            return self._report(pod, decision.message)
        node = self._seams.randomness.choice(decision.best)
        self._assumed.add(waiting.uid)
        self._columns.put_pod(node, request)
        return self._bind(waiting, pod, node)

    async def _bind(self, waiting: Waiting, pod: Object, node: str) -> None:
        try:
            bound = await self._binder.bind(pod, node)
        except (ApiError, ClientError) as error:
            log.info("binding %s to %s failed: %s", waiting.key, node, error)
            bound = False
        if bound:
            self._bound += 1
            self._queue.finish(waiting)
        else:
            self._roll_back(waiting)

    def _roll_back(self, waiting: Waiting) -> None:
        """Take the assumption back, unless the informer confirmed a binding meanwhile."""
        if waiting.uid not in self._assumed:
            return
        self._assumed.discard(waiting.uid)
        self._columns.remove_pod(waiting.uid)
        self._queue.move_all()
        self._queue.retry(waiting)

    async def _report(self, pod: Object, message: str) -> None:
        with contextlib.suppress(ApiError, ClientError):  # Said again with the next attempt.
            await self._binder.report_failure(pod, message)


def _matters(old: Object | None, new: Object | None) -> bool:
    """Whether a node changed in what decides where pods fit; heartbeats do not."""
    if old is None or new is None:
        return True

    def view(node: Object) -> tuple[Any, ...]:
        status = node.get("status") or {}
        return node.get("spec"), node["metadata"].get("labels"), status.get("allocatable")

    return view(old) != view(new)


def _finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
