"""NodeName: a pod that already names its node fits there only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from cluster.scheduler.columns import Columns, View
from cluster.scheduler.framework import FilterPlugin, Rejection, Scope
from cluster.scheduler.framework.events import events
from cluster.scheduler.model.pod_info import PodInfo


class NodeName(FilterPlugin):
    name = "NodeName"
    events = events(nodes="add update")
    scope = Scope.NODE

    def signature(self, pod: PodInfo) -> Hashable:
        return pod.spec.get("nodeName")

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        return bool(pod.spec.get("nodeName"))

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        others = ~view.named([pod.spec["nodeName"]])
        reason = "node(s) didn't match the requested node name"
        return [Rejection(others, reason, resolvable=False)]
