"""How full a node would be, as a score: the strategies of NodeResourcesFit. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cluster.scheduler.columns import Mask, Numbers, View
from cluster.scheduler.framework import MAX_SCORE, Scores
from cluster.scheduler.model.pod_info import PodInfo

CPU_AND_MEMORY = {"cpu": 1, "memory": 1}
NATIVE = frozenset(["cpu", "memory", "ephemeral-storage", "pods"])


def is_scalar(name: str) -> bool:
    """Extended resources and huge pages: they count only for pods that ask for them."""
    return name not in NATIVE


@dataclass(frozen=True)
class LeastAllocated:
    """Emptier nodes rank higher."""

    weights: Mapping[str, int] = field(default_factory=lambda: CPU_AND_MEMORY)

    def of(self, used: Numbers, capacity: Numbers) -> tuple[Scores, Mask]:
        """Score per node, and whether the resource counts there."""
        share = (capacity - used) * MAX_SCORE // np.maximum(capacity, 1)
        return np.where(used <= capacity, share, 0), capacity > 0

    def mean(self, total: Scores, weight: Scores) -> Scores:
        return total // np.maximum(weight, 1)


@dataclass(frozen=True)
class MostAllocated(LeastAllocated):
    """Fuller nodes rank higher: pods are packed onto few nodes."""

    def of(self, used: Numbers, capacity: Numbers) -> tuple[Scores, Mask]:
        share = np.minimum(used, capacity) * MAX_SCORE // np.maximum(capacity, 1)
        return share, capacity > 0


@dataclass(frozen=True)
class RequestedToCapacityRatio(LeastAllocated):
    """`shape`: (utilization in percent, score 0..100), rising; between them straight lines."""

    shape: Sequence[tuple[int, int]] = ((0, 0), (100, 100))

    def of(self, used: Numbers, capacity: Numbers) -> tuple[Scores, Mask]:
        over = (capacity == 0) | (used > capacity)
        share = np.where(over, 100, used * 100 // np.maximum(capacity, 1))
        score = self._line(share)
        return score, score > 0

    def mean(self, total: Scores, weight: Scores) -> Scores:
        """Halves are rounded up, as upstream's math.Round does for what is not negative."""
        return np.where(weight > 0, (2 * total + weight) // np.maximum(2 * weight, 1), 0)

    def _line(self, share: Numbers) -> Scores:
        """Whole numbers throughout; Go rounds towards zero where a line falls."""
        result = np.full(len(share), self.shape[-1][1], np.int64)
        for (x0, y0), (x1, y1) in zip(self.shape[-2::-1], self.shape[:0:-1], strict=True):
            rise = (y1 - y0) * (share - x0)
            step = np.sign(rise) * (np.abs(rise) // (x1 - x0))
            result = np.where(share <= x1, y0 + step, result)
        return np.where(share <= self.shape[0][0], self.shape[0][1], result)


def allocation_score(view: View, pod: PodInfo, strategy: LeastAllocated) -> Scores:
    """Weighted mean over the strategy's resources, as if the pod were there already."""
    total: Scores = np.zeros(len(view), np.int64)
    weights: Scores = np.zeros(len(view), np.int64)
    for name, weight in strategy.weights.items():
        capacity, used = view.allocatable(name), view.scored(name) + pod.scored.get(name, 0)
        if is_scalar(name) and not pod.requests.get(name):
            capacity = np.zeros_like(capacity)
        score, counts = strategy.of(np.where(capacity > 0, used, 0), capacity)
        total += np.where(counts, weight * score, 0)
        weights += weight * counts
    return strategy.mean(total, weights)
