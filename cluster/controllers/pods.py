"""Facts about pods that several controllers need. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.machinery import meta

Object = dict[str, Any]

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_terminated(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted."""
    return not is_terminated(pod) and not is_deleting(pod)


def is_deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def is_ready(pod: Object) -> bool:
    return meta.condition_is(pod, "Ready")


def ready_since_s(pod: Object) -> float:
    """When it became ready (seconds since the epoch); 0 if that is not known."""
    condition = meta.condition(pod, "Ready") or {}
    since = condition.get("lastTransitionTime")
    return meta.parse_time(since) if since and condition.get("status") == "True" else 0.0


def is_available(pod: Object, min_ready_s: float, now_s: float) -> bool:
    """Ready for at least `min_ready_s`."""
    if not is_ready(pod):
        return False
    since_s = ready_since_s(pod)
    return min_ready_s == 0 or (since_s > 0 and since_s + min_ready_s <= now_s)


def available_in_s(pod: Object, min_ready_s: float, now_s: float) -> float | None:
    """How long until a ready pod becomes available; None if it is, or is not ready."""
    if not is_ready(pod) or is_available(pod, min_ready_s, now_s):
        return None
    return max(0.0, ready_since_s(pod) + min_ready_s - now_s)


def node_name(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((int(status.get("restartCount") or 0) for status in statuses), default=0)


def to_delete(
    candidates: Sequence[Object], related: Sequence[Object], count: int, now_s: float
) -> list[Object]:
    """The `count` pods whose loss costs least, as upstream's getPodsToDelete.

    `related` are the active pods of all ReplicaSets of the same owner: where many of them share
    a node, one of those goes first.
    """
    crowd: dict[str, int] = {}
    for pod in related:
        crowd[node_name(pod)] = crowd.get(node_name(pod), 0) + 1
    return sorted(candidates, key=lambda pod: _cost(pod, crowd, now_s))[:count]


def _cost(pod: Object, crowd: Mapping[str, int], now_s: float) -> tuple[Any, ...]:
    """Sorted ascending: unassigned, pending, not ready, cheap, crowded, young, restarted."""
    ready_s = ready_since_s(pod)
    created_s = meta.parse_time(pod["metadata"]["creationTimestamp"])
    return (
        bool(node_name(pod)),
        {"Pending": 0, "Unknown": 1}.get(phase(pod), 2),
        is_ready(pod),
        deletion_cost(pod),
        -crowd.get(node_name(pod), 0),
        _age_rank(ready_s, now_s) if is_ready(pod) else 0,
        -restarts(pod),
        _age_rank(created_s, now_s),
        pod["metadata"].get("uid", ""),
    )


def deletion_cost(pod: Object) -> int:
    """The annotation's value; 0 where it is missing or malformed (the API refuses those)."""
    text = str((pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0"))
    return int(text) if text.lstrip("+-").isdigit() else 0


def _age_rank(since_s: float, now_s: float) -> float:
    """Ages that differ by less than a factor of two are equal, so that age alone evens out."""
    age_s = now_s - since_s
    return math.floor(math.log2(age_s)) if since_s and age_s >= 1 else -1.0
