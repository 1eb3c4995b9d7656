"""A few tasks that reconcile the keys of a queue, each again when it asks for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from actors.seams import Clock
from cluster.client import ClientError, QueueClosed, WorkQueue
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[float | None]]


class Workers:
    """At most `count` keys are worked on at once. `reconcile` returns in how many seconds to look
    at the key again, if nothing happens before; None: never."""

    def __init__(self, name: str, clock: Clock, reconcile: Reconcile, count: int) -> None:
        self._name = name
        self._reconcile = reconcile
        self._count = count
        self._queue = WorkQueue(clock, first_backoff_s=0.1, max_backoff_s=10.0, limit=1_000_000)
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, key: str) -> None:
        self._queue.add(key)

    def __len__(self) -> int:
        return len(self._queue)

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._work(), name=f"{self._name} {number}")
            for number in range(self._count)
        ]

    async def stop(self) -> None:
        self._queue.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._try(key)
            finally:
                self._queue.done(key)

    async def _try(self, key: str) -> None:
        try:
            after_s = await self._reconcile(key)
        except (ApiError, ClientError) as error:
            log.info("%s %s: %s; trying again", self._name, key, error)
            self._queue.add_rate_limited(key)
        except Exception:
            log.exception("%s %s failed", self._name, key)
            self._queue.add_rate_limited(key)
        else:
            self._queue.forget(key)
            if after_s is not None:
                self._queue.add_after(key, after_s)
