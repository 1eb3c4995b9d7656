"""What a work queue measures, under the names that client-go gives it (`workqueue_*`)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from actors.seams import Clock

BOUNDS_S = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Upper bounds of buckets, in seconds."""


class Histogram:
    """Durations, counted by upper bound."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        self._counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self._sum_s += duration_s

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """Prometheus text; `labels` as in `name="job"`."""
        total, before = 0, f"{labels}," if labels else ""
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{before}le="{bound}"}} {total}'
        yield f"{name}_sum{{{labels}}} {self._sum_s:g}"
        yield f"{name}_count{{{labels}}} {total}"


class QueueMetrics:
    """Told by the queue of what happens to its keys."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, float] = {}
        self._working: dict[str, float] = {}
        self.waited, self.worked = Histogram(), Histogram()
        self.adds = self.retries = 0

    def added(self, key: str) -> None:
        self.adds += 1
        self._waiting.setdefault(key, self._clock.now())

    def taken(self, key: str) -> None:
        now_s = self._clock.now()
        self.waited.observe(now_s - self._waiting.pop(key, now_s))
        self._working[key] = now_s

    def done(self, key: str) -> None:
        now_s = self._clock.now()
        self.worked.observe(now_s - self._working.pop(key, now_s))

    def lines(self, name: str, depth: int) -> Iterator[str]:
        """Prometheus text; `name`: of the queue, `depth`: how many keys wait in it."""
        labels = f'name="{name}"'
        ages_s = [self._clock.now() - since_s for since_s in self._working.values()]
        yield f"workqueue_depth{{{labels}}} {depth}"
        yield f"workqueue_adds_total{{{labels}}} {self.adds}"
        yield f"workqueue_retries_total{{{labels}}} {self.retries}"
        yield f"workqueue_unfinished_work_seconds{{{labels}}} {sum(ages_s):g}"
        longest_s = max(ages_s, default=0.0)
        yield f"workqueue_longest_running_processor_seconds{{{labels}}} {longest_s:g}"
        yield from self.waited.lines("workqueue_queue_duration_seconds", labels)
        yield from self.worked.lines("workqueue_work_duration_seconds", labels)
