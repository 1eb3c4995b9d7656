"""Tasks that reconcile the keys of a queue: again after errors, and when they ask for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cluster.client.errors import ClientError
from cluster.client.workqueue import QueueClosed, WorkQueue
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[float | None]]
QUIET_TRIES = 5
"""So often a refusal is logged for those only who look for it."""


@dataclass
class Counts:
    """How often keys were reconciled; how often with an error, or to be called again."""

    reconciled: int = 0
    failed: int = 0
    requeued: int = 0


class Workers:
    """At most `count` keys are worked on at once. `reconcile` returns in how many seconds to look
    at the key again, if nothing happens before; None: never. `refill` adds all keys, after a full
    queue has refused some."""

    def __init__(
        self,
        name: str,
        queue: WorkQueue,
        reconcile: Reconcile,
        count: int,
        *,
        refill: Callable[[], None] = lambda: None,
        counts: Counts | None = None,
    ) -> None:
        self._name, self._queue, self._reconcile = name, queue, reconcile
        self._count, self._refill = count, refill
        self.counts = counts or Counts()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """`run` until `stop`."""
        self._task = asyncio.create_task(self.run(), name=self._name)

    async def stop(self) -> None:
        self._queue.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def run(self) -> None:
        """Until the queue is closed."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._work(), name=f"{self._name} {number}")

    async def _work(self) -> None:
        queue = self._queue
        while True:
            try:
                key = await queue.get()
            except QueueClosed:
                return
            try:
                await self._try(key)
            finally:
                queue.done(key)
                if queue.overflowed and not len(queue):
                    queue.overflowed = False
                    self._refill()

    async def _try(self, key: str) -> None:
        self.counts.reconciled += 1
        try:
            after_s = await self._reconcile(key)
        except Exception as error:
            self._log(key, error)
            self.counts.failed += 1
            self._queue.add_rate_limited(key)
            return
        self._queue.forget(key)
        if after_s is not None:
            self.counts.requeued += 1
            self._queue.add_after(key, after_s)

    def _log(self, key: str, error: Exception) -> None:
        """Refusals and broken links are usual and retried; anything else is a defect of ours."""
        if isinstance(error, ApiError | ClientError):
            quiet = self._queue.requeues(key) < QUIET_TRIES
            level = logging.DEBUG if quiet else logging.WARNING
            log.log(level, "%s: %s: %s", self._name, key, error)
        else:
            log.error("%s: %s failed", self._name, key, exc_info=error)
