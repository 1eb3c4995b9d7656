"""What a controller is, and what runs it: watches give keys, workers reconcile them.

A controller states its watches and `reconcile(key)`. It is level-triggered: a key says that
something may have changed, and everything is decided from the current state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from actors.seams import Seams
from cluster.client import Client, EventRecorder, WorkQueue
from cluster.client.workers import Counts, Workers
from cluster.controllers.informers import Informers
from cluster.machinery import meta
from cluster.machinery.resources import Resource

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
        self.metrics = Counts()
        """Since this process began to lead."""
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
                group.create_task(self._workers().run())
                group.create_task(controller.background())
        finally:
            self._queue.close()
            await controller.events.stop()

    def _workers(self) -> Workers:
        controller = self._controller
        return Workers(
            controller.name, self._queue, self._reconcile, controller.workers,
            refill=self._refill, counts=controller.metrics,
        )  # fmt: skip

    async def _reconcile(self, key: str) -> float | None:
        result = await self._controller.reconcile(key)
        return None if result is None else result.after_s

    def _refill(self) -> None:
        """Keys that a full queue refused are found again by looking at every object."""
        for watch in self._watches:
            for obj in self._controller.informers.of(watch.resource).list():
                for key in watch.keys(obj):
                    self._queue.add(key)
