"""Nodes on which room can be made: what would have to go from each, and which is the best. Pure.

As upstream's SelectVictimsOnNode and pickOneNode, but for many nodes at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.scheduler.columns import Mask, View
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.decision import NO_VICTIMS
from cluster.scheduler.framework.evaluation import passing
from cluster.scheduler.framework.plugin import Scope
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.preemption.budgets import Budgets


@dataclass(frozen=True)
class Candidate:
    """`victims`: the most important one first. `violations` of disruption budgets."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int


class DryRun:
    """What would happen if pods of lower priority than `pod` went. `reasons` why nodes are none."""

    def __init__(self, cycle: Cycle, pod: PodInfo, budgets: Budgets) -> None:
        self._cycle, self._pod, self._budgets = cycle, pod, budgets
        self._filters = cycle.dynamic_filters(pod)
        self._nominated = cycle.nominations.before(pod)
        self.reasons: Counter[str] = Counter()

    def run(self, nodes: Sequence[str]) -> list[Candidate]:
        """Together, unless what is on one node matters for another."""
        alone = any(plugin.scope is Scope.CLUSTER for plugin in self._filters)
        groups = [[node] for node in nodes] if alone else [nodes]
        return [candidate for group in groups for candidate in self._run(group)]

    def _run(self, nodes: Sequence[str]) -> list[Candidate]:
        lower = {node: self._lower(node) for node in nodes}
        chosen = [node for node, pods in lower.items() if pods]
        if len(nodes) > len(chosen):
            self.reasons[NO_VICTIMS] += len(nodes) - len(chosen)
        added = [(node, pod) for node in chosen for pod in self._nominated.get(node, ())]
        removed = [pod.uid for node in chosen for pod in lower[node]]
        with self._cycle.columns.what_if(added, removed):
            fits = self._fits(chosen)
            self._explain([node for node, fine in zip(chosen, fits, strict=True) if not fine])
            kept = [node for node, fine in zip(chosen, fits, strict=True) if fine]
            return self._reprieve({node: lower[node] for node in kept})

    def _lower(self, node: str) -> list[PodInfo]:
        """Pods that may be preempted, the most important first."""
        pods = self._cycle.columns.pods_on(node)
        found = [pod for pod in pods if pod.priority < self._pod.priority]
        return sorted(found, key=importance)

    def _view(self, nodes: Sequence[str]) -> View:
        rows = self._cycle.columns.rows
        return View(self._cycle.columns, np.array([rows[node] for node in nodes], np.intp))

    def _fits(self, nodes: Sequence[str]) -> Mask:
        return passing(self._view(nodes), self._pod, self._filters)

    def _explain(self, nodes: Sequence[str]) -> None:
        """Why these nodes would not do even without the pods of lower priority."""
        if not nodes:
            return
        view, left = self._view(nodes), np.ones(len(nodes), np.bool_)
        for plugin in self._filters:
            rejected = np.zeros(len(nodes), np.bool_)
            for rejection in plugin.filter(view, self._pod):
                count = int(np.count_nonzero(rejection.nodes & left))
                if count:
                    self.reasons[rejection.reason] += count
                rejected |= rejection.nodes
            left &= ~rejected

    def _reprieve(self, lower: dict[str, list[PodInfo]]) -> list[Candidate]:
        """Put back as many pods as the node can hold beside the new one, first those whose
        eviction would violate a budget, the most important first."""
        columns, victims = self._cycle.columns, {node: [] for node in lower}  # type: ignore[var-annotated]
        split = {node: self._budgets.split(pods) for node, pods in lower.items()}
        order = {node: [*violating, *fine] for node, (violating, fine) in split.items()}
        for number in range(max(map(len, order.values()), default=0)):
            back = {node: pods[number] for node, pods in order.items() if number < len(pods)}
            for node, pod in back.items():
                columns.put_pod(node, pod)
            for (node, pod), fine in zip(back.items(), self._fits([*back]), strict=True):
                if not fine:
                    columns.remove_pod(pod.uid)
                    victims[node].append(pod)
        return [
            Candidate(
                node,
                tuple(sorted(gone, key=importance)),
                sum(pod in split[node][0] for pod in gone),
            )
            for node, gone in victims.items()
        ]


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
