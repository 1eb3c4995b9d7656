"""NodeUnschedulable: cordoned nodes take only pods that tolerate the matching taint."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from cluster.scheduler.columns import Columns, View
from cluster.scheduler.framework import FilterPlugin, Rejection, Scope
from cluster.scheduler.framework.events import events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.tolerations import tolerated

TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable(FilterPlugin):
    name = "NodeUnschedulable"
    events = events(nodes="add update")
    scope = Scope.NODE

    def signature(self, pod: PodInfo) -> Hashable:
        return self._bound(pod)

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        return self._bound(pod)

    def _bound(self, pod: PodInfo) -> bool:
        return not tolerated(pod.spec.get("tolerations") or (), TAINT)

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        return [Rejection(view.unschedulable, "node(s) were unschedulable", resolvable=False)]
