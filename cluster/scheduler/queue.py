"""Pods that wait for a node: ready to be tried, backing off, or waiting for a change."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass

from actors.seams import Clock
from actors.seams.clock import TimerHandle


@dataclass
class Waiting:
    """One pod; `attempts` are those that failed since it was created."""

    key: str
    uid: str
    priority: int
    since_s: float
    attempts: int = 0
    failed_s: float = 0.0
    moved: int = 0


class SchedulingQueue:
    """Higher priority first, then who waits longer.

    A pod that no node could take is parked until something changes (`move_all`), or for
    `flush_s` at most. A change that comes while the pod is being tried counts as well.
    """

    first_backoff_s = 1.0
    max_backoff_s = 10.0
    flush_s = 300.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._active: list[tuple[int, float, int, str]] = []
        self._pods: dict[str, Waiting] = {}
        self._parked: set[str] = set()
        self._timers: dict[str, TimerHandle] = {}
        self._queued: dict[str, int] = {}
        self._numbers = itertools.count()
        self._moves = 0
        self._available = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pods)

    @property
    def counts(self) -> dict[str, int]:
        parked = len(self._parked)
        return {"active": len(self._queued), "backoff": len(self._timers), "parked": parked}

    def add(self, key: str, uid: str, priority: int) -> None:
        """A new pod, or one that changed in a way that may let it be scheduled."""
        known = self._pods.get(key)
        if known is not None and known.uid == uid and known.priority == priority:
            if key in self._parked:
                self._unpark(known)
            return
        self.remove(key)
        self._pods[key] = Waiting(key, uid, priority, self._clock.now())
        self._activate(key)

    def remove(self, key: str) -> None:
        """It was bound or deleted."""
        self._pods.pop(key, None)
        self._parked.discard(key)
        self._queued.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def finish(self, pod: Waiting) -> None:
        """As `remove`, but not of another pod that has the name by now."""
        if self._pods.get(pod.key) is pod:
            self.remove(pod.key)

    async def pop(self) -> Waiting:
        """The next pod to try; it stays known until `remove`, `park` or `retry`."""
        while True:
            while self._active:
                _, _, number, key = heapq.heappop(self._active)
                if self._queued.get(key) == number:
                    del self._queued[key]
                    self._pods[key].moved = self._moves
                    return self._pods[key]
            self._available.clear()
            await self._available.wait()

    def park(self, pod: Waiting) -> None:
        """No node fits: wait for a change, unless one came in the meantime."""
        if self._pods.get(pod.key) is not pod:
            return
        self._failed(pod)
        if pod.moved != self._moves:
            self._back_off(pod)
        else:
            self._parked.add(pod.key)

    def retry(self, pod: Waiting) -> None:
        """It failed for a reason of the moment: try again after its back-off."""
        if self._pods.get(pod.key) is pod:
            self._failed(pod)
            self._back_off(pod)

    def move_all(self) -> None:
        """Something changed that may let parked pods be scheduled."""
        self._moves += 1
        for key in [*self._parked]:
            self._unpark(self._pods[key])

    def flush(self) -> None:
        """Try again what has been parked for too long, whatever the reason."""
        oldest_s = self._clock.now() - self.flush_s
        for key in [*self._parked]:
            if self._pods[key].failed_s <= oldest_s:
                self._unpark(self._pods[key])

    def _failed(self, pod: Waiting) -> None:
        pod.attempts += 1
        pod.failed_s = self._clock.now()

    def _unpark(self, pod: Waiting) -> None:
        self._parked.discard(pod.key)
        self._back_off(pod)

    def _back_off(self, pod: Waiting) -> None:
        delay_s = self.first_backoff_s * 2.0 ** min(pod.attempts - 1, 30)
        left_s = pod.failed_s + min(delay_s, self.max_backoff_s) - self._clock.now()
        if left_s <= 0:
            self._activate(pod.key)
        elif pod.key not in self._timers:
            self._timers[pod.key] = self._clock.call_later(left_s, self._due, pod.key)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        if key in self._pods:
            self._activate(key)

    def _activate(self, key: str) -> None:
        if key in self._queued:
            return
        pod = self._pods[key]
        number = self._queued[key] = next(self._numbers)
        heapq.heappush(self._active, (-pod.priority, pod.since_s, number, key))
        self._available.set()
