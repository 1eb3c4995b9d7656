"""A queue of keys: each waits once, is worked on by one worker at a time, and can back off."""

from __future__ import annotations

import asyncio
from collections import deque

from actors.seams import Clock
from actors.seams.clock import TimerHandle
from cluster.client.queue_metrics import QueueMetrics


class QueueClosed(Exception):
    """The queue was shut down: the worker should end."""


class WorkQueue:
    """As client-go's rate-limiting queue, but bounded.

    A key added while it is being worked on waits until `done`. When `limit` keys are held,
    further ones are refused and `overflowed` is set: the owner adds all keys again later.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        first_backoff_s: float = 0.005,
        max_backoff_s: float = 60.0,
        limit: int = 100_000,
    ) -> None:
        self._clock = clock
        self.metrics = QueueMetrics(clock)
        self._first_s = first_backoff_s
        self._max_s = max_backoff_s
        self._limit = limit
        self._ready: deque[str] = deque()
        self._dirty: set[str] = set()
        self._working: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, tuple[float, TimerHandle]] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        if self._closed or key in self._dirty:
            return
        if len(self._dirty) >= self._limit:
            self.overflowed = True
            return
        self._dirty.add(key)
        self.metrics.added(key)
        if key not in self._working:
            self._push(key)

    def add_after(self, key: str, delay_s: float) -> None:
        """Add later; of several delays for one key the earliest counts."""
        if delay_s <= 0:
            self.add(key)
            return
        due_s = self._clock.now() + delay_s
        earlier = self._timers.get(key)
        if self._closed or (earlier is not None and earlier[0] <= due_s):
            return
        if earlier is not None:
            earlier[1].cancel()
        elif len(self._timers) >= self._limit:
            self.overflowed = True
            return
        self._timers[key] = (due_s, self._clock.call_later(delay_s, self._due, key))

    def add_rate_limited(self, key: str) -> None:
        """Add after a delay that doubles with each call, until `forget`."""
        failures = self._failures.get(key, 0)
        self.metrics.retries += 1
        self._failures[key] = failures + 1
        self.add_after(key, min(self._first_s * 2.0 ** min(failures, 60), self._max_s))

    def forget(self, key: str) -> None:
        """The key was worked on without an error: its back-off starts afresh."""
        self._failures.pop(key, None)

    def requeues(self, key: str) -> int:
        return self._failures.get(key, 0)

    async def get(self) -> str:
        """The next key; call `done` afterwards. Raises QueueClosed."""
        while not self._ready:
            if self._closed:
                raise QueueClosed
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                self._abandon(waiter)
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        self.metrics.taken(key)
        return key

    def done(self, key: str) -> None:
        self._working.discard(key)
        self.metrics.done(key)
        if key in self._dirty:
            self._push(key)

    def close(self) -> None:
        """Drop what waits and end the workers."""
        self._closed = True
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._ready.clear()
        self._dirty.clear()
        while self._waiters:
            self._wake()

    def _due(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def _push(self, key: str) -> None:
        self._ready.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _abandon(self, waiter: asyncio.Future[None]) -> None:
        """A cancelled worker passes its wake-up on."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif self._ready:
            self._wake()
