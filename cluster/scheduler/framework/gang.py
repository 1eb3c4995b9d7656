"""Groups of pods that are scheduled together: enough of them at once, or none. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.decision import Decision, Diagnosis
from cluster.scheduler.framework.plugin import Group
from cluster.scheduler.model.pod_info import PodInfo


def schedule_group(
    cycle: Cycle, pods: Sequence[PodInfo], placed: int, group: Group, plugin: str
) -> dict[str, Decision]:
    """By uid. `placed`: how many of the group have nodes. The columns stay as they are.

    Pods that find no node are told why; with too few that do, the others are told so, and nothing
    is preempted for any of them.
    """
    decisions: dict[str, Decision] = {}
    columns = cycle.columns
    for pod in pods if len(pods) + placed >= group.least else ():
        decisions[pod.uid] = decision = cycle.decide(pod)
        if decision.node:
            columns.put_pod(decision.node, pod)
    found = [pod.uid for pod in pods if pod.uid in decisions and decisions[pod.uid].node]
    for uid in found:
        columns.remove_pod(uid)
    if len(found) + placed >= group.least:
        return decisions
    what = "fit" if decisions else "are there"
    have = len(found) if decisions else len(pods)
    refusal = f'pod group "{group.key}": {have + placed} of the {group.least} pods needed {what}'
    for pod in pods:
        diagnosis = Diagnosis(len(columns), refusal=refusal, plugins={plugin})
        own = decisions.get(pod.uid)
        if own is not None and own.diagnosis is not None:
            diagnosis = own.diagnosis
        decisions[pod.uid] = Decision(diagnosis=diagnosis)
    return decisions
