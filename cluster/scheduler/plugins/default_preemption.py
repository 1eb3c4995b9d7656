"""DefaultPreemption: pods of lower priority go where that makes room for the pod."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.machinery import meta
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.decision import NOT_HELPFUL, Diagnosis, histogram
from cluster.scheduler.framework.plugin import Candidate, Nomination, PostFilterPlugin
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.preemption.budgets import Budgets
from cluster.scheduler.preemption.candidates import DryRun, pick

BUDGETS = "poddisruptionbudgets.policy"


class DefaultPreemption(PostFilterPlugin):
    """Arguments: minCandidateNodesPercentage and minCandidateNodesAbsolute."""

    name = "DefaultPreemption"

    def __init__(self, least_percent: int = 10, least: int = 100) -> None:
        self._least_percent, self._least = least_percent, least

    def post_filter(self, cycle: Cycle, pod: PodInfo, diagnosis: Diagnosis) -> Nomination:
        if wrong := _not_eligible(cycle, pod, diagnosis):
            return Nomination(message=f"preemption: {wrong}", keeps=True)
        rows = self._offered(cycle, diagnosis)
        dry_run = DryRun(cycle, pod, Budgets(cycle.columns.catalog.list(BUDGETS)))
        candidates = self._find(dry_run, cycle.columns.names, rows)
        if candidates:
            best = pick(candidates)
            return Nomination(best.node, best.victims, candidates=candidates)
        return Nomination(message=_message(diagnosis, len(rows), dry_run.reasons))

    def _offered(self, cycle: Cycle, diagnosis: Diagnosis) -> NDArray[np.intp]:
        """Rows of nodes that could be made to fit, from a random one on."""
        if diagnosis.resolvable is None or not diagnosis.resolvable.any():
            return np.zeros(0, np.intp)
        rows = np.flatnonzero(diagnosis.resolvable)
        return np.roll(rows, -cycle.choose(len(rows)))

    def _find(
        self, dry_run: DryRun, names: Sequence[str], rows: NDArray[np.intp]
    ) -> list[Candidate]:
        """Until there are enough, and one of them violates no budget."""
        if not dry_run.anybody_lower(len(rows)):
            return []
        enough = max(len(rows) * self._least_percent // 100, self._least)
        found: list[Candidate] = []
        start = 0
        while start < len(rows):
            end = start + max(1, enough - len(found))
            found += dry_run.run([names[row] for row in rows[start:end]])
            if len(found) >= enough and any(not c.violations for c in found):
                break
            start = end
        return found


def _not_eligible(cycle: Cycle, pod: PodInfo, diagnosis: Diagnosis) -> str:
    if pod.spec.get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    node = cycle.nominations.node_of(pod.uid) or pod.nominated
    row = cycle.columns.rows.get(node)
    if row is None or diagnosis.resolvable is None or not diagnosis.resolvable[row]:
        return ""
    for other in cycle.columns.pods_on(node):
        if other.terminating and other.priority < pod.priority and _preempted(other):
            return "not eligible due to a terminating pod on the nominated node."
    return ""


def _preempted(pod: PodInfo) -> bool:
    condition = meta.condition(pod.pod, "DisruptionTarget") or {}
    return (condition.get("status"), condition.get("reason")) == ("True", "PreemptionByScheduler")


def _message(diagnosis: Diagnosis, offered: int, reasons: Counter[str]) -> str:
    told = [*reasons.items()]
    if diagnosis.node_count > offered:
        told.append((NOT_HELPFUL, diagnosis.node_count - offered))
    return f"preemption: 0/{diagnosis.node_count} nodes are available: {histogram(told)}."
