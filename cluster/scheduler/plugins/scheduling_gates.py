"""SchedulingGates: a pod is not queued until all its gates have been taken away."""

from __future__ import annotations

from typing import Any


class SchedulingGates:
    name = "SchedulingGates"

    def admits(self, pod: dict[str, Any]) -> bool:
        return not (pod.get("spec") or {}).get("schedulingGates")
