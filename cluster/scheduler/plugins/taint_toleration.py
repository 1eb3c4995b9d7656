"""TaintToleration: NoSchedule and NoExecute taints rule out, PreferNoSchedule ones rank."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import orjson

from cluster.scheduler.columns import Mask, View
from cluster.scheduler.columns.columns import Taint
from cluster.scheduler.framework import (
    FilterPlugin,
    Rejection,
    Scope,
    ScorePlugin,
    Scores,
    normalized,
)
from cluster.scheduler.framework.events import events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.tolerations import tolerated

Object = dict[str, Any]


class TaintToleration(FilterPlugin, ScorePlugin):
    name = "TaintToleration"
    events = events(nodes="add update")
    scope = Scope.NODE
    normalizes = True

    def signature(self, pod: PodInfo) -> Hashable:
        return orjson.dumps(pod.spec.get("tolerations") or ())

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        """Each node counts for the first of its taints that is not tolerated."""
        tolerations = pod.spec.get("tolerations") or ()
        wrong = [first_untolerated(tolerations, list_) for list_ in view.columns.taint_lists]
        for taint in dict.fromkeys(taint for taint in wrong if taint):
            per_list = np.array([other == taint for other in wrong], np.bool_)
            reason = f"node(s) had untolerated taint {{{taint[0]}: {taint[1]}}}"
            yield Rejection(view.of_taints(per_list), reason, resolvable=False)

    def score(self, view: View, pod: PodInfo, feasible: Mask) -> Scores:
        """Untolerated PreferNoSchedule taints: the fewer, the better."""
        tolerations = [
            toleration
            for toleration in pod.spec.get("tolerations") or ()
            if toleration.get("effect") in (None, "", "PreferNoSchedule")
        ]
        per_list = [
            sum(t[2] == "PreferNoSchedule" and not tolerated(tolerations, t) for t in taints)
            for taints in view.columns.taint_lists
        ]
        return view.of_taints(np.array(per_list, np.int64))

    def normalize(self, raw: Scores, feasible: Mask) -> Scores:
        return normalized(raw, feasible, reverse=True)


def first_untolerated(tolerations: Sequence[Object], taints: Iterable[Taint]) -> Taint | None:
    for taint in taints:
        if taint[2] != "PreferNoSchedule" and not tolerated(tolerations, taint):
            return taint
    return None
