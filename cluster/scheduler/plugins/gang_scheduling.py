"""GangScheduling: the pods of a group get their nodes all at once, or none does.

Not one of the default plugins: a profile enables it under multiPoint. Pods belong to a group by
the labels that the coscheduling plugin of scheduler-plugins reads.
"""

from __future__ import annotations

from cluster.scheduler.columns import Columns
from cluster.scheduler.framework.events import ClusterEvent, events
from cluster.scheduler.framework.plugin import Group, GroupPlugin
from cluster.scheduler.model.pod_info import PodInfo

NAME = "pod-group.scheduling.sigs.k8s.io/name"
LEAST = "pod-group.scheduling.sigs.k8s.io/min-available"


class GangScheduling(GroupPlugin):
    name = "GangScheduling"
    events = events(nodes="add update", pods="pending delete update")

    def group(self, pod: PodInfo) -> Group | None:
        """A number that is none counts as 1."""
        name, least = pod.labels.get(NAME), pod.labels.get(LEAST, "1")
        if not name:
            return None
        return Group(f"{pod.namespace}/{name}", int(least) if least.isdecimal() else 1)

    def helps(self, pod: PodInfo, event: ClusterEvent, columns: Columns) -> bool:
        """Another pod of the group came; or there is more room."""
        if event.kind != "pending":
            return True
        mine, other = self.group(pod), self.group(event.pod)
        return mine is not None and other is not None and mine.key == other.key
