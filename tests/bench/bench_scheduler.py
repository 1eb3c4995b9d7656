"""The scheduler: the pure core alone, and end to end through the API server and the store.

usage: scripts/bench scheduler [--nodes 1000,5000] [--fleets 1] [--members 3]
                               [--only core,packing,cluster] [CASE...]

The core is measured as pods decided per second in one process, beside upstream's thresholds
(scheduler_perf, 5,000 nodes). End to end ("cluster"), pods are made, scheduled and bound through
the API server and members of the store, on simulated nodes: beside a real kube-scheduler
1.20 with its API server and 3 members of etcd (1,000 nodes, 2 cores, on another day), or else
upstream's thresholds. With --fleets 0 nodes are objects that nobody keeps alive, as they were for
that peer, and no pod runs. CASE: part of a case's name.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import scheduling_cluster
import yaml
from figures import tell
from scheduling_cases import CASES, FULL, Case, Kind, node

from cluster.scheduler.columns import Columns
from cluster.scheduler.framework.batch import schedule
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.profile import Profile
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.profiles import default_profile, settings_of
from cluster.scheduler.plugins.registry import Registry

EXAMPLE = Path(__file__).parents[2] / "examples/scheduler/configuration.yaml"


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


GPUS, GPU_NODES = 8, 100
ASKED = (1, 1, 1, 2, 2, 4, 8)
"""GPUs of pods, in the mix that they come in."""


def packing(seed: int = 1) -> None:
    """Nodes used for the same pods, and how many GPUs a full cluster leaves in pieces.

    Pods of 1 to 8 GPUs come until one with 8 does not fit; what is free then is of no use to it.
    """
    for name in ("default-scheduler", "packing", "gpu-packing"):
        cycle = Cycle(Columns(), _profile(name), choose=random.Random(seed).randrange)
        for number in range(GPU_NODES):
            made = node(number)
            made["status"]["allocatable"] |= {"nvidia.com/gpu": str(GPUS), "cpu": "96"}
            cycle.columns.put_node(made)
        order, used, number = random.Random(seed), 0, 0
        while True:
            asked, number = order.choice(ASKED), number + 1
            requests = {"nvidia.com/gpu": str(asked), "cpu": str(asked)}
            container = {"name": "c", "resources": {"requests": requests}}
            metadata = {"name": f"p{number}", "namespace": "d", "uid": str(number)}
            pod = PodInfo.of({"metadata": metadata, "spec": {"containers": [container]}})
            if not schedule(cycle, [pod]).bindings:
                break
            used += asked
            if number == GPU_NODES // 2:
                nodes = len({where for where, _ in cycle.columns.placed()})
                tell(f"packing: nodes used by {number} pods", "nodes", nodes, None, profile=name)
        share = 100 * used / (GPUS * GPU_NODES)
        tell("packing: GPUs in use when one pod first waits", "%", share, None, profile=name)


def _profile(name: str) -> Profile:
    given = yaml.safe_load(EXAMPLE.read_text())
    return next(p for p in settings_of(given, Registry()).profiles if p.name == name)


def main() -> None:
    parser = argparse.ArgumentParser(
        usage=(__doc__ or "").partition("usage: ")[2].partition("\n\n")[0]
    )
    parser.add_argument("--nodes", default="1000,5000")
    parser.add_argument("--fleets", type=int, default=1)
    parser.add_argument("--members", type=int, default=3, choices=[1, 3, 5])
    parser.add_argument("--only", default="core,packing,cluster")
    parser.add_argument("cases", nargs="*")
    given = parser.parse_args()
    wanted = [case for case in CASES if not given.cases or any(c in case.name for c in given.cases)]
    sections, sizes = given.only.split(","), [int(size) for size in given.nodes.split(",")]
    if "packing" in sections:
        packing()
    if "core" in sections:
        core(sizes, wanted)
    for size in sizes if "cluster" in sections else ():
        scheduling_cluster.run(size, wanted, given.fleets, given.members)


if __name__ == "__main__":
    main()
