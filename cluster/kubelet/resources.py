"""What a container asks of the kernel, from its requests and limits. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.kubelet.runtimes.base import Resources
from cluster.machinery import qos, quantity

Object = dict[str, Any]

GUARANTEED_OOM_ADJ, BEST_EFFORT_OOM_ADJ = -997, 1000
_CRITICAL_PRIORITY = 2_000_000_000


def of_container(pod: Object, container: Object, allocatable: Mapping[str, str]) -> Resources:
    """`allocatable` is the node's; only its memory is looked at.

    Where a container has no limit of its own, the one of the pod as a whole holds for it.
    """
    given = container.get("resources") or {}
    whole = (pod["spec"].get("resources") or {}).get("limits") or {}
    limits, requests = given.get("limits") or {}, given.get("requests") or {}
    requests = {"cpu": limits["cpu"]} | requests if "cpu" in limits else requests
    limits = whole | limits
    return Resources(
        cpu_request_milli=quantity.milli(requests["cpu"]) if "cpu" in requests else 0,
        cpu_limit_milli=quantity.milli(limits["cpu"]) if "cpu" in limits else 0,
        memory_limit_bytes=quantity.value(limits["memory"]) if "memory" in limits else 0,
        oom_score_adj=_oom_score_adj(pod, container, allocatable),
    )


def _oom_score_adj(pod: Object, container: Object, allocatable: Mapping[str, str]) -> int:
    """Who is killed first when memory runs out: upstream's policy, by class and by request."""
    kind = (pod.get("status") or {}).get("qosClass") or qos.class_of(pod["spec"])
    if kind == "Guaranteed" or (pod["spec"].get("priority") or 0) >= _CRITICAL_PRIORITY:
        return GUARANTEED_OOM_ADJ
    if kind == "BestEffort":
        return BEST_EFFORT_OOM_ADJ
    given = container.get("resources") or {}
    asked = (given.get("requests") or {}).get("memory", (given.get("limits") or {}).get("memory"))
    capacity = quantity.value(allocatable.get("memory", "0"))
    if not asked or not capacity:
        return BEST_EFFORT_OOM_ADJ - 1
    share = 1000 * quantity.value(asked) // capacity
    return max(1000 + GUARANTEED_OOM_ADJ, min(BEST_EFFORT_OOM_ADJ - 1, 1000 - share))
