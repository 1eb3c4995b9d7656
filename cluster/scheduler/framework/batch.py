"""Many pods at once, one after the other: each sees what those before it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.decision import Decision
from cluster.scheduler.model.pod_info import PodInfo


@dataclass
class Outcome:
    """`bindings`: node by pod uid; `failed`: decisions without a node by pod uid."""

    bindings: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Decision] = field(default_factory=dict)


def schedule(cycle: Cycle, pods: Iterable[PodInfo]) -> Outcome:
    """(columns, pods) -> (bindings, reasons). The columns then have the pods that were bound."""
    outcome = Outcome()
    for pod in pods:
        decision = cycle.decide(pod)
        if decision.node:
            cycle.columns.put_pod(decision.node, pod)
            outcome.bindings[pod.uid] = decision.node
        else:
            outcome.failed[pod.uid] = decision
    return outcome
