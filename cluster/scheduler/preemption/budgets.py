"""PodDisruptionBudgets: which evictions would violate one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.machinery import meta, selectors
from cluster.scheduler.model.pod_info import PodInfo

Object = dict[str, Any]


class Budgets:
    def __init__(self, budgets: Iterable[Object]) -> None:
        self._budgets = [
            (meta.namespace(b), selectors.from_object(b["spec"].get("selector")), _status(b))
            for b in budgets
        ]

    def split(self, pods: Sequence[PodInfo]) -> tuple[list[PodInfo], list[PodInfo]]:
        """(those whose eviction would violate a budget if all before them went, too, the rest)."""
        if not self._budgets:
            return [], [*pods]
        left = [int(status.get("disruptionsAllowed") or 0) for *_, status in self._budgets]
        violating: list[PodInfo] = []
        fine: list[PodInfo] = []
        for pod in pods:
            numbers = [*self._of(pod)]
            for number in numbers:
                left[number] -= 1
            wrong = any(left[number] < 0 for number in numbers)
            (violating if wrong else fine).append(pod)
        return violating, fine

    def _of(self, pod: PodInfo) -> Iterable[int]:
        """Budgets that the pod's eviction takes from; of those that know of it already, none."""
        for number, (namespace, selector, status) in enumerate(self._budgets):
            if namespace != pod.namespace or not pod.labels or selector.empty:
                continue
            if selector.matches(pod.labels) and pod.name not in (status.get("disruptedPods") or ()):
                yield number


def _status(budget: Object) -> Object:
    return budget.get("status") or {}
