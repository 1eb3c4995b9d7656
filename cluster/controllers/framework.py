"""What a controller is, and what runs it: watches give keys, workers reconcile them.

A controller states its watches and `reconcile(key)`. It is level-triggered: a key says that
something may have changed, and everything is decided from the current state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from actors.seams import Seams
from cluster.client import Client, ClientError, EventRecorder, QueueClosed, WorkQueue
from cluster.controllers.informers import Informers
from cluster.machinery import meta
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

Object = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """Reconcile the key again after this time even if nothing changes."""

    after_s: float


@dataclass(frozen=True)
class Watch:
    """Changes of `resource` lead to the keys of the old and of the new object."""

    resource: str | Resource
    keys: Callable[[Object], Iterable[str]] = lambda obj: (meta.key(obj),)


@dataclass(frozen=True)
class Context:
    """What controllers share while this process leads."""

    client: Client
    seams: Seams
    informers: Informers
    config: dict[str, Any] = field(default_factory=dict)


@dataclass
class Metrics:
    """Counters since this process began to lead."""

    reconciled: int = 0
    failed: int = 0
    requeued: int = 0


class Controller:
    """Base of the controllers; `name` is upstream's (without "-controller"), and so is
    `account`, the service account of kube-system that it may act as.
    """

    name: ClassVar[str]
    account: ClassVar[str]
    workers: ClassVar[int] = 4

    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.client
        self.clock = context.seams.clock
        self.informers = context.informers
        self.queue = WorkQueue(context.seams.clock, max_backoff_s=30.0)
        self.metrics = Metrics()
        self.events = EventRecorder(context.client, context.seams, f"{self.name}-controller")

    def watches(self) -> Sequence[Watch]:
        """Called once, before anything is reconciled."""
        raise NotImplementedError

    async def reconcile(self, key: str) -> Result | None:
        """Bring the world closer to what `key` asks for. Errors lead to another try."""
        raise NotImplementedError

    async def background(self) -> None:
        """Work beside the queue, after the informers have synced."""

    def lines(self) -> Iterator[str]:
        """Prometheus text about its queue and its work."""
        yield from self.queue.metrics.lines(self.name, len(self.queue))
        label = f'controller="{self.name}"'
        yield f"controller_reconcile_total{{{label}}} {self.metrics.reconciled}"
        yield f"controller_reconcile_errors_total{{{label}}} {self.metrics.failed}"


class Runner:
    """Runs one controller until cancelled."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._queue = controller.queue
        self._watches = list(controller.watches())
        for watch in self._watches:
            self._subscribe(watch)

    def _subscribe(self, watch: Watch) -> None:
        def handler(kind: str, old: Object | None, new: Object | None) -> None:
            for obj in (old, new):
                for key in watch.keys(obj) if obj is not None else ():
                    self._queue.add(key)

        self._controller.informers.of(watch.resource).subscribe(handler)

    async def run(self) -> None:
        controller = self._controller
        controller.events.start()
        try:
            for watch in self._watches:
                await controller.informers.of(watch.resource).synced()
            async with asyncio.TaskGroup() as group:
                for _ in range(controller.workers):
                    group.create_task(self._work())
                group.create_task(controller.background())
        finally:
            self._queue.close()
            await controller.events.stop()

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._reconcile(key)
            finally:
                self._queue.done(key)
                self._refill()

    async def _reconcile(self, key: str) -> None:
        metrics = self._controller.metrics
        metrics.reconciled += 1
        try:
            result = await self._controller.reconcile(key)
        except Exception as error:
            self._log(key, error)
            metrics.failed += 1
            self._queue.add_rate_limited(key)
            return
        self._queue.forget(key)
        if result is not None:
            metrics.requeued += 1
            self._queue.add_after(key, result.after_s)

    def _log(self, key: str, error: Exception) -> None:
        """Refusals and broken links are usual and retried; anything else is a defect of ours."""
        name = self._controller.name
        if isinstance(error, ApiError | ClientError):
            level = logging.DEBUG if self._queue.requeues(key) < 5 else logging.WARNING
            log.log(level, "%s: %s: %s", name, key, error)
        else:
            log.error("%s: %s failed", name, key, exc_info=error)

    def _refill(self) -> None:
        """Keys that a full queue refused are found again by looking at every object."""
        if not self._queue.overflowed or len(self._queue):
            return
        self._queue.overflowed = False
        for watch in self._watches:
            for obj in self._controller.informers.of(watch.resource).list():
                for key in watch.keys(obj):
                    self._queue.add(key)
