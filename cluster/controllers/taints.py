"""Taints that follow from a node's conditions, and which of them a pod tolerates. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.machinery import meta

Object = dict[str, Any]

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_BY_CONDITION = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
_MANAGED = {*_BY_CONDITION.values(), UNSCHEDULABLE}
_EVICTING = {NOT_READY, UNREACHABLE}


def wanted(node: Object, now_s: float) -> list[Object]:
    """The node's taints with ours brought up to date; times of taints that stay are kept."""
    spec = node.get("spec") or {}
    current = spec.get("taints") or []
    due = set(_due(node))
    kept = [t for t in current if not _is_ours(t) or (t["key"], t["effect"]) in due]
    present = {(t["key"], t["effect"]) for t in kept}
    added = [{"key": key, "effect": effect} for key, effect in sorted(due - present)]
    for taint in added:
        if taint["effect"] == "NoExecute" or taint["key"] != UNSCHEDULABLE:
            taint["timeAdded"] = meta.format_time(now_s)
    return [*kept, *added]


def _due(node: Object) -> Iterable[tuple[str, str]]:
    for condition in (node.get("status") or {}).get("conditions") or ():
        key = _BY_CONDITION.get((condition["type"], condition["status"]))
        if key is not None:
            yield key, "NoSchedule"
            if key in _EVICTING:
                yield key, "NoExecute"
    if (node.get("spec") or {}).get("unschedulable"):
        yield UNSCHEDULABLE, "NoSchedule"


def _is_ours(taint: Object) -> bool:
    effects = ("NoSchedule", "NoExecute") if taint["key"] in _EVICTING else ("NoSchedule",)
    return taint["key"] in _MANAGED and taint["effect"] in effects


def tolerates(toleration: Object, taint: Object) -> bool:
    """As upstream's Toleration.ToleratesTaint: an empty key or effect means any."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    same_value = (toleration.get("value") or "") == (taint.get("value") or "")
    return bool(toleration.get("key")) and same_value


def evict_at_s(
    pod: Object, taints: Sequence[Object], seen_s: float, limit_s: float | None
) -> float | None:
    """When a pod must leave a node with these taints (now or earlier: at once); None: never.

    `seen_s`: since when taints are there that do not say it themselves, such as kubectl's.
    `limit_s` caps how long not-ready and unreachable nodes are tolerated.
    """
    times = []
    for taint in taints:
        if taint["effect"] == "NoExecute":
            since_s = meta.parse_time(taint["timeAdded"]) if taint.get("timeAdded") else seen_s
            stay_s = _stay_s(pod, taint, limit_s)
            times += [since_s + stay_s] if stay_s is not None else []
    return min(times, default=None)


def _stay_s(pod: Object, taint: Object, limit_s: float | None) -> float | None:
    """The longest time is the shortest that any matching toleration allows."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    matching = [t for t in tolerations if tolerates(t, taint)]
    if not matching:
        return 0.0
    limits = [
        max(0.0, float(t["tolerationSeconds"]))
        for t in matching
        if t.get("tolerationSeconds") is not None
    ]
    if limits and limit_s is not None and taint["key"] in _EVICTING:
        limits.append(limit_s)
    return min(limits, default=None)
