"""PrioritySort: higher priority first, then who waits longer."""

from __future__ import annotations

from typing import Any

from cluster.scheduler.framework.plugin import QueueSortPlugin
from cluster.scheduler.model.pod_info import PodInfo


class PrioritySort(QueueSortPlugin):
    name = "PrioritySort"

    def key(self, pod: PodInfo, since_s: float) -> Any:
        return -pod.priority, since_s
