"""NodeUnschedulable: cordoned nodes take only pods that tolerate the matching taint."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.scheduler.columns import Columns
from cluster.scheduler.framework import Rejection
from cluster.scheduler.plugins.tolerations import tolerated
from cluster.scheduler.requests import PodRequest

TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable:
    name = "NodeUnschedulable"
    resolvable = False

    def reject(self, columns: Columns, pod: PodRequest) -> Sequence[Rejection]:
        if tolerated(pod.spec.get("tolerations") or (), TAINT):
            return ()
        return [Rejection(columns.unschedulable, "node(s) were unschedulable")]
