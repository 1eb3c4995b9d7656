"""TaintToleration: NoSchedule and NoExecute taints rule out, PreferNoSchedule ones rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster.scheduler.columns import Columns, Mask
from cluster.scheduler.framework import Rejection, Scores, normalize
from cluster.scheduler.plugins.tolerations import tolerated
from cluster.scheduler.requests import PodRequest


class TaintToleration:
    name = "TaintToleration"
    resolvable = False

    def reject(self, columns: Columns, pod: PodRequest) -> Sequence[Rejection]:
        """Each node counts for one of its taints only, as upstream names just the first."""
        tolerations = pod.spec.get("tolerations") or ()
        rejections: list[Rejection] = []
        seen: Mask = np.zeros(len(columns), np.bool_)
        for taint, nodes in columns.taints():
            key, value, effect = taint
            if effect == "PreferNoSchedule" or tolerated(tolerations, taint):
                continue
            reason = f"node(s) had untolerated taint {{{key}: {value}}}"
            rejections.append(Rejection(nodes & ~seen, reason))
            seen = seen | nodes
        return rejections

    def score(self, columns: Columns, pod: PodRequest, feasible: Mask) -> Scores:
        """Fewer untolerated PreferNoSchedule taints are better."""
        tolerations = [
            toleration
            for toleration in pod.spec.get("tolerations") or ()
            if toleration.get("effect") in (None, "", "PreferNoSchedule")
        ]
        count: Scores = np.zeros(len(columns), np.int64)
        for taint, nodes in columns.taints():
            if taint[2] == "PreferNoSchedule" and not tolerated(tolerations, taint):
                count += nodes
        return normalize(count, feasible, reverse=True)
