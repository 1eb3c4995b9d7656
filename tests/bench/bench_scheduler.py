"""The scheduler: the pure core alone, and end to end through the API server and the store.

usage: scripts/bench scheduler [--nodes 1000,5000] [--cluster-nodes 1000] [CASE...]

The core is measured as pods decided per second in one process, beside upstream's thresholds
(scheduler_perf, 5,000 nodes). End to end, pods are made, scheduled and bound: beside a real
kube-scheduler 1.20 with its API server and 3 members of etcd, 2 cores, on another day. Nodes are
objects without a kubelet. CASE: part of a case's name, or "cluster" for end to end.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Iterable, Sequence

import scheduling_cluster
from figures import tell
from scheduling_cases import CASES, FULL, Case, Kind, node

from cluster.scheduler.columns import Columns
from cluster.scheduler.framework.batch import schedule
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.profiles import default_profile


class Core:
    """Columns of one size, and the cycle over them."""

    def __init__(self, nodes: int, seed: int = 1) -> None:
        self._columns, self._nodes, self._made = Columns(), nodes, 0
        for number in range(nodes):
            self._columns.put_node(node(number))
        choose = random.Random(seed).randrange
        self._cycle = Cycle(self._columns, default_profile(), choose=choose)

    def run(self, case: Case) -> tuple[float, int]:
        """(pods per second, pods)"""
        for kind, count in case.before:
            schedule(self._cycle, self._pods(kind, self._scaled(count)))
        measured = [*self._pods(case.measured[0], self._scaled(case.measured[1]))]
        churn = case.churn and [*self._pods(case.churn, len(measured) // case.every)]
        start_s = time.perf_counter()
        for number, pod in enumerate(measured):
            if not schedule(self._cycle, [pod]).bindings:
                raise RuntimeError(f"{case.name}: {self._cycle.decide(pod).message}")
            if churn and case.every and number % case.every == case.every - 1:
                self._preempt(churn[number // case.every])
        return len(measured) / (time.perf_counter() - start_s), len(measured)

    def _preempt(self, pod: PodInfo) -> None:
        """Victims are gone at once; the pod is tried again."""
        decision = self._cycle.decide(pod)
        if decision.nomination is not None and decision.nomination.node:
            for victim in decision.nomination.victims:
                self._columns.remove_pod(victim.uid)
            if not schedule(self._cycle, [pod]).bindings:
                raise RuntimeError("no room was made")

    def _scaled(self, count: int) -> int:
        return count * self._nodes // FULL

    def _pods(self, kind: Kind, count: int) -> Iterable[PodInfo]:
        for _ in range(count):
            self._made += 1
            made = kind.pod(f"pod-{self._made}")
            made["metadata"]["uid"] = str(self._made)
            yield PodInfo.of(made)


def core(sizes: Sequence[int], chosen: Sequence[Case]) -> None:
    for nodes in sizes:
        for case in chosen:
            gc.collect()
            per_s, pods = Core(nodes).run(case)
            name = f"core: {case.name}"
            tell(name, "pods_per_s", per_s, case.threshold, nodes=nodes, pods=pods)


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--nodes", default="1000,5000")
    parser.add_argument("--cluster-nodes", type=int, default=1000)
    parser.add_argument("cases", nargs="*")
    given = parser.parse_args()
    wanted = [case for case in CASES if not given.cases or any(c in case.name for c in given.cases)]
    core([int(size) for size in given.nodes.split(",")], wanted)
    if not given.cases or "cluster" in given.cases:
        scheduling_cluster.run(given.cluster_nodes)


if __name__ == "__main__":
    main()
