"""Nodes on which room can be made: what would have to go from each, and which is the best. Pure.

As upstream's SelectVictimsOnNode and pickOneNode, but for many nodes at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cluster.scheduler.columns import Mask, View
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.decision import NO_VICTIMS
from cluster.scheduler.framework.evaluation import passing
from cluster.scheduler.framework.plugin import Candidate, Scope
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.preemption.budgets import Budgets
from cluster.scheduler.preemption.trial import Alone, Together, Trial


class DryRun:
    """What would happen if pods of lower priority than `pod` went. `reasons` why nodes are none."""

    def __init__(self, cycle: Cycle, pod: PodInfo, budgets: Budgets) -> None:
        self._cycle, self._pod, self._budgets = cycle, pod, budgets
        self._filters = cycle.dynamic_filters(pod)
        self._nominated = cycle.nominations.before(pod)
        self.reasons: Counter[str] = Counter()

    def run(self, nodes: Sequence[str]) -> list[Candidate]:
        """Together, unless what is on one node matters for another."""
        lower = {node: self._lower(node) for node in nodes}
        chosen = [node for node, pods in lower.items() if pods]
        if len(nodes) > len(chosen):
            self.reasons[NO_VICTIMS] += len(nodes) - len(chosen)
        columns = self._cycle.columns
        if not any(plugin.scope is Scope.CLUSTER for plugin in self._filters):
            return self._try(Together(columns, chosen), chosen, lower) if chosen else []
        found = []
        for node in chosen:
            found += self._try(Alone(columns, node), [node], lower)
        return found

    def anybody_lower(self, node_count: int) -> bool:
        """Mostly all pods are of one priority: then none of the nodes has to be looked at."""
        present = self._cycle.columns.priorities.items()
        if any(count > 0 and priority < self._pod.priority for priority, count in present):
            return True
        if node_count:
            self.reasons[NO_VICTIMS] += node_count
        return False

    def _lower(self, node: str) -> list[PodInfo]:
        """Pods that may be preempted, the most important first."""
        pods = self._cycle.columns.pods_on(node)
        found = [pod for pod in pods if pod.priority < self._pod.priority]
        return sorted(found, key=importance)

    def _try(
        self, trial: Trial, nodes: Sequence[str], lower: Mapping[str, list[PodInfo]]
    ) -> list[Candidate]:
        try:
            places = [*enumerate(nodes)]
            trial.take((place, pod) for place, node in places for pod in lower[node])
            for place, node in places if self._nominated else ():
                trial.put((place, pod) for pod in self._nominated.get(node, ()))
            fits = self._fits(trial)
            self._explain(trial.view, ~fits)
            kept = {place: lower[nodes[place]] for place in np.flatnonzero(fits).tolist()}
            return [self._reprieved(nodes[place], *v) for place, v in self._reprieve(trial, kept)]
        finally:
            trial.end()

    def _fits(self, trial: Trial) -> Mask:
        return passing(trial.view, self._pod, self._filters)

    def _explain(self, view: View, left: Mask) -> None:
        """Why these nodes would not do even without the pods of lower priority."""
        for plugin in self._filters if left.any() else ():
            rejected = view.none()
            for rejection in plugin.filter(view, self._pod):
                count = int(np.count_nonzero(rejection.nodes & left))
                if count:
                    self.reasons[rejection.reason] += count
                rejected |= rejection.nodes
            left = left & ~rejected

    def _reprieve(
        self, trial: Trial, lower: Mapping[int, list[PodInfo]]
    ) -> Iterable[tuple[int, tuple[list[PodInfo], list[PodInfo]]]]:
        """Put back as many pods as the node can hold beside the new one, first those whose
        eviction would violate a budget, the most important first.

        By place: the pods that have to go, and those of all whose eviction violates a budget.
        """
        split = {place: self._budgets.split(pods) for place, pods in lower.items()}
        order = {place: [*violating, *fine] for place, (violating, fine) in split.items()}
        victims: dict[int, list[PodInfo]] = {place: [] for place in order}
        for number in range(max(map(len, order.values()), default=0)):
            back = [(place, pods[number]) for place, pods in order.items() if number < len(pods)]
            trial.put(back)
            fits = self._fits(trial)
            gone = [(place, pod) for place, pod in back if not fits[place]]
            trial.take(gone)
            for place, pod in gone:
                victims[place].append(pod)
        return [(place, (gone, split[place][0])) for place, gone in victims.items()]

    def _reprieved(self, node: str, victims: list[PodInfo], violating: list[PodInfo]) -> Candidate:
        violations = sum(pod in violating for pod in victims)
        return Candidate(node, tuple(sorted(victims, key=importance)), violations)


def importance(pod: PodInfo) -> tuple[int, str]:
    """Lower is more important: higher priority, then running for longer."""
    return -pod.priority, start_time(pod)


def start_time(pod: PodInfo) -> str:
    """RFC 3339 of UTC, so that text compares as time does; a pod not started yet is newest."""
    return (pod.pod.get("status") or {}).get("startTime") or "9999"


def pick(candidates: Iterable[Candidate]) -> Candidate:
    """Fewest violated budgets; lowest priority of the highest victim; lowest sum of priorities;
    fewest victims; the victims of highest priority that started last."""
    return min(candidates, key=_cost)


def _cost(candidate: Candidate) -> tuple[int, int, int, int, tuple[int, ...]]:
    victims = candidate.victims
    if not victims:
        return candidate.violations, -(2**31), 0, 0, ()
    highest = victims[0].priority
    earliest = min(start_time(pod) for pod in victims if pod.priority == highest)
    later_first = tuple(-ord(character) for character in earliest)
    total = sum(pod.priority + 2**31 for pod in victims)
    return candidate.violations, highest, total, len(victims), later_first
