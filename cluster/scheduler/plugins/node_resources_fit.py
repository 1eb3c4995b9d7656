"""NodeResourcesFit: everything requested must be free; how full a node would be ranks it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from cluster.machinery import quantity
from cluster.scheduler.columns import Columns, Mask, View
from cluster.scheduler.framework import FilterPlugin, Rejection, Scope, ScorePlugin, Scores
from cluster.scheduler.framework.events import ClusterEvent, events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.node_resources_scores import LeastAllocated, allocation_score


class NodeResourcesFit(FilterPlugin, ScorePlugin):
    """Arguments: scoringStrategy, ignoredResources and ignoredResourceGroups."""

    name = "NodeResourcesFit"
    events = events(nodes="add update", pods="delete update")
    scope = Scope.PODS

    def __init__(
        self,
        strategy: LeastAllocated | None = None,
        ignored: Iterable[str] = (),
        ignored_groups: Iterable[str] = (),
    ) -> None:
        self._strategy = strategy or LeastAllocated()
        self._ignored, self._ignored_groups = frozenset(ignored), frozenset(ignored_groups)

    def signature(self, pod: PodInfo) -> Hashable:
        return pod.wanted, tuple(pod.scored.items())

    def _wanted(self, pod: PodInfo) -> Iterable[tuple[str, int]]:
        for name, number in pod.wanted:
            group = name.partition("/")[0] if "/" in name else ""
            if number > 0 and name not in self._ignored and group not in self._ignored_groups:
                yield name, number

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        yield Rejection(view.requested("pods") + 1 > view.allocatable("pods"), "Too many pods")
        for name, number in self._wanted(pod):
            capacity = view.allocatable(name)
            lacking = number > capacity - view.requested(name)
            if lacking.any():
                impossible = number > capacity
                reason = f"Insufficient {name}"
                yield Rejection(lacking & ~impossible, reason)
                yield Rejection(impossible, reason, resolvable=False)

    def score(self, view: View, pod: PodInfo, feasible: Mask) -> Scores:
        return allocation_score(view, pod, self._strategy)

    def helps(self, pod: PodInfo, event: ClusterEvent, columns: Columns) -> bool:
        """Pods that went or shrank; nodes that could hold the pod and did not have as much."""
        if event.is_("pods", "delete", "update"):
            return True
        if not event.is_("nodes", "add", "update"):
            return False
        before, after = _allocatable(event.old), _allocatable(event.new)
        wanted = [("pods", 1), *self._wanted(pod)]
        if any(after.get(name, 0) < _nano(name, number) for name, number in wanted):
            return False
        return event.kind == "add" or any(after[n] > before.get(n, 0) for n, _ in wanted)


def _allocatable(node: dict[str, object] | None) -> dict[str, int]:
    status = (node or {}).get("status")
    given = (status if isinstance(status, dict) else {}).get("allocatable") or {}
    return {name: quantity.parse(text) for name, text in given.items()}


def _nano(name: str, number: int) -> int:
    return number * (10**6 if name == "cpu" else 10**9)
