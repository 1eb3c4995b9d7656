"""PodDisruptionBudgets: an eviction never takes a pod that the budget could not spare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import intstr, meta, selectors
from cluster.simulation.checks.history import Change, History, is_ready, replicas

Object = dict[str, Any]


class Budgets:
    """An eviction says in the pod that it is one, before it deletes the pod."""

    def __init__(self) -> None:
        self._losses: dict[str, list[float]] = {}
        """By uid of a budget: when pods of it that were ready went without an eviction."""
        self._matched_s: dict[str, float] = {}
        """By uid of a budget: when its status last told how many pods are healthy."""

    def check(self, change: Change, history: History) -> Iterator[str]:
        if change.kind == "PodDisruptionBudget" and change.new is not None:
            self._note_status(change, change.new, history)
        if change.kind != "Pod":
            return
        reason = (meta.condition(change.old or {}, "DisruptionTarget") or {}).get("reason")
        evicted = change.begins_to_go and reason == "EvictionByEvictionAPI"
        for budget in self._of(change.obj, history):
            if evicted and change.old is not None and is_ready(change.old):
                yield from self._evicted(change, budget, history)
            elif change.old is not None and is_ready(change.old) and not _stays(change):
                self._losses.setdefault(budget["metadata"]["uid"], []).append(change.now_s)
            self._note_health(change, budget, history)

    def _of(self, pod: Object, history: History) -> list[Object]:
        labels = pod["metadata"].get("labels")
        found = history.kinds("PodDisruptionBudget")
        here = [b for b in found if meta.namespace(b) == meta.namespace(pod)]
        return [b for b in here if _selects(b, labels)]

    def _note_status(self, change: Change, budget: Object, history: History) -> None:
        self._note_health(change, budget, history)

    def _note_health(self, change: Change, budget: Object, history: History) -> None:
        """From when its status is true, only losses that come later excuse anything."""
        told = (budget.get("status") or {}).get("currentHealthy")
        if told == _healthy(budget, history):
            self._matched_s[budget["metadata"]["uid"]] = change.now_s

    def _evicted(self, change: Change, budget: Object, history: History) -> Iterator[str]:
        uid = budget["metadata"]["uid"]
        least = min(
            _least(spec, budget, history, change) for spec in _specs(budget, history, change)
        )
        since_s = self._matched_s.get(uid, 0.0)
        lost = sum(at_s >= since_s for at_s in self._losses.get(uid, ()))
        healthy = _healthy(budget, history)
        if healthy + lost < least:
            name = budget["metadata"]["name"]
            yield f"{change.key} is evicted: {healthy} healthy (+{lost} lost), {name} wants {least}"


def _stays(change: Change) -> bool:
    return change.new is not None and is_ready(change.new)


def _specs(budget: Object, history: History, change: Change) -> list[Object]:
    return history.recent_specs(budget, change.now_s)


def _selects(budget: Object, labels: Any) -> bool:
    return selectors.from_object(budget["spec"].get("selector")).matches(labels)


def _pods(budget: Object, history: History) -> list[Object]:
    every = [p for p in history.kinds("Pod") if meta.namespace(p) == meta.namespace(budget)]
    return [pod for pod in every if _selects(budget, pod["metadata"].get("labels"))]


def _healthy(budget: Object, history: History) -> int:
    return sum(map(is_ready, _pods(budget, history)))


def _least(spec: Object, budget: Object, history: History, change: Change) -> int:
    if spec.get("minAvailable") is not None and not intstr.is_percent(spec["minAvailable"]):
        return int(spec["minAvailable"])
    owners = {}
    for pod in _pods(budget, history):
        reference = meta.controller_of(pod)
        owner = history.alive(reference["uid"]) if reference else None
        above = meta.controller_of(owner) if owner else None
        owner = (history.alive(above["uid"]) if above else None) or owner
        if owner is not None:
            owners[owner["metadata"]["uid"]] = min(
                map(replicas, history.recent_specs(owner, change.now_s))
            )
    total = sum(owners.values())
    if spec.get("maxUnavailable") is not None:
        return max(0, total - intstr.resolve(spec["maxUnavailable"], total, True))
    return intstr.resolve(spec.get("minAvailable", 1), total, True)
