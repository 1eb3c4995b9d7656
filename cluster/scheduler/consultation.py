"""Decisions in which extenders have a say: they filter and rank nodes, and choose among those on
which room can be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cluster.scheduler.extenders import Extender, ExtenderError
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.decision import Decision, Diagnosis
from cluster.scheduler.framework.plugin import Nomination
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.preemption.candidates import pick

EXTENDER = "Extender"
"""Among those that rejected a pod: no plugin, so that the pod hears of every change."""
NO_CANDIDATE = "preemption: extenders left no node to preempt on."


async def decide(pod: PodInfo, cycle: Cycle, extenders: Sequence[Extender]) -> Decision:
    """As `Cycle.decide`; while extenders think, the columns may change, so at the end only nodes
    count on which the pod still fits. Raises ExtenderError."""
    columns = cycle.columns
    feasible, _, refused = cycle.feasible(pod)
    if refused is not None or not feasible.any():
        return await _make_room(pod, cycle, extenders, cycle.diagnose(pod))
    names = [columns.names[row] for row in np.flatnonzero(feasible)]
    reasons: list[str] = []
    for extender in extenders:
        try:
            verdict = await extender.filter(columns, pod, names)
        except ExtenderError:
            if not extender.ignorable:
                raise
            continue
        reasons += verdict.failed.values()
        names = [name for name in names if name in verdict.nodes]
    scores = [await extender.scores(columns, pod, names) for extender in extenders]
    feasible, evaluation, refused = cycle.feasible(pod)
    feasible &= columns.table.mask(names)
    if refused is not None or not feasible.any():
        diagnosis = cycle.diagnose(pod)
        diagnosis.reasons.update(reasons)
        diagnosis.plugins.add(EXTENDER)
        return await _make_room(pod, cycle, extenders, diagnosis)
    more = np.zeros(len(columns), np.int64)
    for name, score in ((n, s) for given in scores for n, s in given.items()):
        if name in columns.rows:
            more[columns.rows[name]] += score
    return cycle.select(pod, feasible, evaluation, more)


async def _make_room(
    pod: PodInfo, cycle: Cycle, extenders: Sequence[Extender], diagnosis: Diagnosis
) -> Decision:
    nomination = cycle.post_filter(pod, diagnosis)
    if nomination is not None and nomination.candidates:
        nomination = await _choose(pod, cycle, extenders, nomination)
    return Decision(diagnosis=diagnosis, nomination=nomination)


async def _choose(
    pod: PodInfo, cycle: Cycle, extenders: Sequence[Extender], nomination: Nomination
) -> Nomination:
    """The best candidate that all extenders let through, with the victims that they leave."""
    candidates = nomination.candidates
    for extender in extenders:
        try:
            candidates = await extender.preempt(cycle.columns, pod, candidates)
        except ExtenderError:
            if not extender.ignorable:
                raise
        if not candidates:
            return Nomination(message=NO_CANDIDATE)
    best = pick(candidates)
    return replace(nomination, node=best.node, victims=best.victims, candidates=candidates)
