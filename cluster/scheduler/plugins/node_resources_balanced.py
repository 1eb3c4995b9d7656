"""NodeResourcesBalancedAllocation: the resources of a node should be used up evenly."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns import Columns, Mask, View
from cluster.scheduler.framework import MAX_SCORE, Scope, ScorePlugin, Scores
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.node_resources_scores import is_scalar


class NodeResourcesBalancedAllocation(ScorePlugin):
    """Arguments: resources, a list of names (cpu and memory unless given)."""

    name = "NodeResourcesBalancedAllocation"
    scope = Scope.PODS

    def __init__(self, resources: Sequence[str] = ("cpu", "memory")) -> None:
        self._resources = resources

    def signature(self, pod: PodInfo) -> Hashable:
        return tuple(pod.requests.get(name, 0) for name in self._resources)

    def scores(self, pod: PodInfo, columns: Columns) -> bool:
        """Pods that ask for nothing unbalance nothing."""
        return any(pod.requests.get(name) for name in self._resources)

    def score(self, view: View, pod: PodInfo, feasible: Mask) -> Scores:
        """100 less the standard deviation of the used shares."""
        shares, present = [], []
        for name in self._resources:
            if is_scalar(name) and not pod.requests.get(name):
                continue
            capacity = view.allocatable(name)
            used = view.requested(name) + pod.requests.get(name, 0)
            shares.append(np.minimum(used / np.maximum(capacity, 1), 1.0))
            present.append(capacity > 0)
        return ((1 - _deviation(shares, present)) * MAX_SCORE).astype(np.int64)


def _deviation(
    shares: Sequence[NDArray[np.float64]], present: Sequence[Mask]
) -> NDArray[np.float64]:
    """Of the resources that a node has; of two it is half their difference."""
    if len(shares) == 2:
        both = present[0] & present[1]
        return np.where(both, np.abs(shares[0] - shares[1]) / 2, 0.0)
    mask = np.stack(present)
    values = np.where(mask, np.stack(shares), 0.0)
    count = np.maximum(mask.sum(0), 1)
    mean = values.sum(0) / count
    spread = np.where(mask, values - mean, 0.0)
    deviation: NDArray[np.float64] = np.sqrt((spread * spread).sum(0) / count)
    return deviation
