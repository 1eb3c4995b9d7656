"""SchedulingGates: a pod is not queued until all its gates have been taken away."""

from __future__ import annotations

from cluster.scheduler.framework.events import events
from cluster.scheduler.framework.plugin import PreEnqueuePlugin
from cluster.scheduler.model.pod_info import PodInfo


class SchedulingGates(PreEnqueuePlugin):
    name = "SchedulingGates"
    events = events()

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        gates = [gate["name"] for gate in pod.spec.get("schedulingGates") or ()]
        return f"waiting for scheduling gates: [{' '.join(gates)}]" if gates else None
