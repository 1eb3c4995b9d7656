"""Pods that wait for a node: ready to be tried, backing off, or waiting for a change."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from actors.seams import Clock
from actors.seams.clock import TimerHandle
from cluster.scheduler.framework.events import ClusterEvent
from cluster.scheduler.model.pod_info import PodInfo


@dataclass
class Waiting:
    """One pod; `attempts` are those that failed since it was created."""

    pod: PodInfo
    since_s: float
    attempts: int = 0
    failed_s: float = 0.0
    rejected_by: frozenset[str] = frozenset()
    seen: int = 0
    """How many events had come when it was last taken from the queue."""

    @property
    def key(self) -> str:
        return self.pod.key


@dataclass(frozen=True)
class Rules:
    """What the profiles say about waiting pods.

    `sort_key`: lower goes first. `gates`: plugins that do not let the pod be tried yet. `hears`,
    `helps`: whether any of these plugins cares for such events, and for this one.
    """

    sort_key: Callable[[PodInfo, float], Any]
    gates: Callable[[PodInfo], frozenset[str]]
    hears: Callable[[frozenset[str], ClusterEvent], bool]
    helps: Callable[[PodInfo, frozenset[str], ClusterEvent], bool]


@dataclass
class _Parked:
    """Keys by the plugins that rejected the pods."""

    groups: dict[frozenset[str], dict[str, None]] = field(default_factory=dict)

    def add(self, pod: Waiting) -> None:
        self.groups.setdefault(pod.rejected_by, {})[pod.key] = None

    def discard(self, pod: Waiting) -> bool:
        group = self.groups.get(pod.rejected_by)
        if group is None or pod.key not in group:
            return False
        del group[pod.key]
        if not group:
            del self.groups[pod.rejected_by]
        return True

    def listed(self) -> list[str]:
        return [key for group in self.groups.values() for key in group]


class SchedulingQueue:
    """A pod that no node could take is parked until a plugin that rejected it sees a change that
    helps, or for `flush_s` at most. A change that comes while the pod is tried counts as well."""

    flush_s = 300.0
    remembered = 1000
    """Events that are looked at again when a pod is parked; of older ones any might help."""

    def __init__(
        self, clock: Clock, rules: Rules, first_backoff_s: float = 1.0, max_backoff_s: float = 10.0
    ) -> None:
        self._clock, self._rules = clock, rules
        self._first_backoff_s, self._max_backoff_s = first_backoff_s, max_backoff_s
        self._active: list[tuple[Any, int, str]] = []
        self._pods: dict[str, Waiting] = {}
        self._parked = _Parked()
        self._timers: dict[str, TimerHandle] = {}
        self._queued: dict[str, int] = {}
        self._numbers = itertools.count()
        self._events: deque[ClusterEvent] = deque(maxlen=self.remembered)
        self._event_count = 0
        self._available = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pods)

    @property
    def counts(self) -> dict[str, int]:
        parked = len(self._parked.listed())
        return {"active": len(self._queued), "backoff": len(self._timers), "parked": parked}

    def pods(self) -> Iterable[PodInfo]:
        return [waiting.pod for waiting in self._pods.values()]

    def add(self, pod: PodInfo) -> None:
        """A new pod, or one that changed in a way that may let it be scheduled."""
        known = self._pods.get(pod.key)
        if known is not None and known.pod.uid == pod.uid:
            same = known.pod.priority == pod.priority
            known.pod = pod
            if self._parked.discard(known):
                self._try(known)
            elif not same and pod.key in self._queued:
                self._activate(known)
            return
        self.remove(pod.key)
        self._pods[pod.key] = waiting = Waiting(pod, self._clock.now())
        self._try(waiting)

    def refresh(self, pod: PodInfo) -> None:
        """The pod changed, but not so that it is worth while to try it."""
        known = self._pods.get(pod.key)
        if known is not None and known.pod.uid == pod.uid:
            known.pod = pod

    def remove(self, key: str) -> None:
        """It was bound or deleted."""
        pod = self._pods.pop(key, None)
        if pod is not None:
            self._parked.discard(pod)
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
            if (pod := self.pop_now()) is not None:
                return pod
            self._available.clear()
            await self._available.wait()

    def pop_now(self) -> Waiting | None:
        while self._active:
            _, number, key = heapq.heappop(self._active)
            if self._queued.get(key) == number:
                del self._queued[key]
                pod = self._pods[key]
                pod.seen = self._event_count
                return pod
        return None

    def take(self, key: str) -> Waiting | None:
        """This pod, if it waits for anything but the end of a try; as `pop` otherwise."""
        pod = self._pods.get(key)
        if pod is None:
            return None
        queued = self._queued.pop(key, None) is not None
        if not (queued or key in self._timers or self._parked.discard(pod)):
            return None
        if timer := self._timers.pop(key, None):
            timer.cancel()
        pod.seen = self._event_count
        return pod

    def park(self, pod: Waiting, rejected_by: Iterable[str]) -> None:
        """No node fits: wait for a change, unless one came in the meantime."""
        if self._pods.get(pod.key) is not pod:
            return
        self._failed(pod)
        pod.rejected_by = frozenset(rejected_by)
        if self._missed(pod):
            self._back_off(pod)
        else:
            self._parked.add(pod)

    def _missed(self, pod: Waiting) -> bool:
        count = self._event_count - pod.seen
        if count > len(self._events):
            return True
        recent = itertools.islice(self._events, len(self._events) - count, None)
        return any(self._helps(pod, event) for event in recent)

    def retry(self, pod: Waiting) -> None:
        """It failed for a reason of the moment: try again after its back-off."""
        if self._pods.get(pod.key) is pod:
            self._failed(pod)
            self._back_off(pod)

    def happened(self, event: ClusterEvent) -> None:
        """Parked pods that it may help are tried again after their back-off."""
        self._events.append(event)
        self._event_count += 1
        for rejected_by, keys in [*self._parked.groups.items()]:
            if self._rules.hears(rejected_by, event):
                for key in [*keys]:
                    pod = self._pods[key]
                    if self._rules.helps(pod.pod, rejected_by, event):
                        self._unpark(pod)

    def _helps(self, pod: Waiting, event: ClusterEvent) -> bool:
        by = pod.rejected_by
        return self._rules.hears(by, event) and self._rules.helps(pod.pod, by, event)

    def flush(self) -> None:
        """Try again what has been parked for too long, whatever the reason."""
        oldest_s = self._clock.now() - self.flush_s
        for key in self._parked.listed():
            if self._pods[key].failed_s <= oldest_s:
                self._unpark(self._pods[key])

    def _failed(self, pod: Waiting) -> None:
        pod.attempts += 1
        pod.failed_s = self._clock.now()

    def _unpark(self, pod: Waiting) -> None:
        self._parked.discard(pod)
        self._try(pod)

    def _try(self, pod: Waiting) -> None:
        """Now, or when its back-off is over; unless a gate is closed."""
        if closed := self._rules.gates(pod.pod):
            pod.rejected_by = closed
            self._parked.add(pod)
        else:
            self._back_off(pod)

    def _back_off(self, pod: Waiting) -> None:
        left_s = 0.0
        if pod.attempts:
            delay_s = self._first_backoff_s * 2.0 ** min(pod.attempts - 1, 30)
            left_s = pod.failed_s + min(delay_s, self._max_backoff_s) - self._clock.now()
        if left_s <= 0:
            self._activate(pod)
        elif pod.key not in self._timers:
            self._timers[pod.key] = self._clock.call_later(left_s, self._due, pod.key)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        if key in self._pods:
            self._activate(self._pods[key])

    def _activate(self, pod: Waiting) -> None:
        number = self._queued[pod.key] = next(self._numbers)
        order = self._rules.sort_key(pod.pod, pod.since_s)
        heapq.heappush(self._active, (order, number, pod.key))
        self._available.set()
