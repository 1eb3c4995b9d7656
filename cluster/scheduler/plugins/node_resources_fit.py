"""NodeResourcesFit: everything requested must be free; emptier nodes rank higher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster.scheduler.columns import Columns, Mask
from cluster.scheduler.framework import MAX_SCORE, Rejection, Scores
from cluster.scheduler.requests import PodRequest


class NodeResourcesFit:
    """Scores with the LeastAllocated strategy, cpu and memory alike."""

    name = "NodeResourcesFit"
    resolvable = True

    def reject(self, columns: Columns, pod: PodRequest) -> Sequence[Rejection]:
        full = columns.requested("pods") + 1 > columns.allocatable("pods")
        rejections = [Rejection(full, "Too many pods")]
        for name, number in sorted(pod.requests.items()):
            if number > 0:
                free = columns.allocatable(name) - columns.requested(name)
                rejections.append(Rejection(number > free, f"Insufficient {name}"))
        return rejections

    def score(self, columns: Columns, pod: PodRequest, feasible: Mask) -> Scores:
        total: Scores = np.zeros(len(columns), np.int64)
        weight: Scores = np.zeros(len(columns), np.int64)
        for name in ("cpu", "memory"):
            capacity = columns.allocatable(name)
            used = columns.scored(name) + pod.scored.get(name, 0)
            share = (capacity - used) * MAX_SCORE // np.maximum(capacity, 1)
            total += np.where((capacity > 0) & (used <= capacity), share, 0)
            weight += capacity > 0
        return total // np.maximum(weight, 1)
