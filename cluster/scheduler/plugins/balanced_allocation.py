"""NodeResourcesBalancedAllocation: cpu and memory should be used up evenly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns import Columns, Mask
from cluster.scheduler.framework import MAX_SCORE, Scores
from cluster.scheduler.requests import PodRequest


class BalancedAllocation:
    name = "NodeResourcesBalancedAllocation"

    def score(self, columns: Columns, pod: PodRequest, feasible: Mask) -> Scores | None:
        """100 less the standard deviation of the used shares; no opinion on best-effort pods."""
        if not any(pod.requests.get(name) for name in ("cpu", "memory")):
            return None
        cpu, has_cpu = _share(columns, pod, "cpu")
        memory, has_memory = _share(columns, pod, "memory")
        deviation = np.where(has_cpu & has_memory, np.abs(cpu - memory) / 2, 0.0)
        result: Scores = ((1 - deviation) * MAX_SCORE).astype(np.int64)
        return result


def _share(columns: Columns, pod: PodRequest, name: str) -> tuple[NDArray[np.float64], Mask]:
    capacity = columns.allocatable(name)
    used = columns.requested(name) + pod.requests.get(name, 0)
    return np.minimum(used / np.maximum(capacity, 1), 1.0), capacity > 0
