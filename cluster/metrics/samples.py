"""The last two measurements of each node and container, and what was used between (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cluster.metrics.exposition import Sample

MIN_WINDOW_S = 0.9
"""Less than that says little of a rate."""
FRESH_S = 60.0
"""A container as young as that, measured once only, is measured from its start."""
STALE_S = 120.0
"""What a node has not told anew for so long is told no more."""

PodKey = tuple[str, str]
"""(namespace, name)"""


@dataclass(frozen=True, slots=True)
class Point:
    """Processor seconds so far, bytes now."""

    at_s: float
    cpu_s: float
    memory_bytes: float
    started_at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Used:
    """Between two points, `window_s` apart, of which the later one is `at_s`."""

    cores: float
    memory_bytes: int
    at_s: float
    window_s: float


@dataclass
class Measured:
    """What one scrape of one node has told."""

    node: Point | None = None
    containers: dict[PodKey, dict[str, Point]] = field(default_factory=dict)


def measured(samples: Iterable[Sample], now_s: float) -> Measured:
    """`now_s` is the time of samples that have none."""
    found: dict[tuple[str, str, str], dict[str, Sample]] = {}
    for sample in samples:
        owner, _, what = sample.name.partition("_")
        labels = sample.labels
        if owner in ("node", "container"):
            key = (labels.get("namespace", ""), labels.get("pod", ""), labels.get("container", ""))
            found.setdefault(key if owner == "container" else ("", "", ""), {})[what] = sample
    result = Measured()
    for (namespace, pod, container), parts in found.items():
        point = _point(parts, now_s)
        if point is not None and not container:
            result.node = point
        elif point is not None:
            result.containers.setdefault((namespace, pod), {})[container] = point
    return result


def _point(parts: Mapping[str, Sample], now_s: float) -> Point | None:
    cpu, memory = parts.get("cpu_usage_seconds_total"), parts.get("memory_working_set_bytes")
    if cpu is None or memory is None:
        return None
    started = parts.get("start_time_seconds")
    return Point(cpu.at_s or now_s, cpu.value, memory.value, started.value if started else 0.0)


def used(last: Point, before: Point | None) -> Used | None:
    """None if there is nothing to compare with yet."""
    if before is None or before.cpu_s > last.cpu_s or before.started_at_s != last.started_at_s:
        age_s = last.at_s - last.started_at_s
        if not last.started_at_s or age_s > FRESH_S:
            return None
        before = Point(last.started_at_s, 0.0, 0.0)
    window_s = last.at_s - before.at_s
    if window_s < MIN_WINDOW_S:
        return None
    cores = (last.cpu_s - before.cpu_s) / window_s
    return Used(cores, int(last.memory_bytes), last.at_s, window_s)


class Samples:
    """By node, so that a node that is gone takes its pods along."""

    def __init__(self) -> None:
        self._last: dict[str, Measured] = {}
        self._before: dict[str, Measured] = {}

    def put(self, node: str, found: Measured) -> None:
        """A repeated measurement (the kubelet keeps them for a moment) is left out."""
        last = self._last.get(node)
        if last is not None and last.node and found.node:
            if found.node.at_s - last.node.at_s < MIN_WINDOW_S:
                return
            self._before[node] = last
        self._last[node] = found

    def keep(self, nodes: Iterable[str]) -> None:
        """Forget all others."""
        for gone in self._last.keys() - set(nodes):
            self._last.pop(gone)
            self._before.pop(gone, None)

    def node(self, name: str, now_s: float) -> Used | None:
        last, before = self._last.get(name), self._before.get(name)
        if last is None or last.node is None or before is None or before.node is None:
            return None
        return used(last.node, before.node) if now_s - last.node.at_s < STALE_S else None

    def pods(self, now_s: float) -> Iterator[tuple[PodKey, dict[str, Used]]]:
        """Only pods of whose containers all is known."""
        for node, last in self._last.items():
            old = self._before.get(node) or Measured()
            for key, points in last.containers.items():
                before = old.containers.get(key) or {}
                known = {n: used(point, before.get(n)) for n, point in points.items()}
                fresh = {n: each for n, each in known.items()
                         if each is not None and now_s - each.at_s < STALE_S}  # fmt: skip
                if len(fresh) == len(points):
                    yield key, fresh
