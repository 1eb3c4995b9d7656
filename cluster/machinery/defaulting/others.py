"""Defaults of storage, scheduling, autoscaling and access rules."""

from __future__ import annotations

from cluster.machinery.conversion.autoscalers import METRICS
from cluster.machinery.defaulting.values import Object, default, default_zero, items, part

RBAC_GROUP = "rbac.authorization.k8s.io"


def apply_storage_class(obj: Object) -> None:
    """Delete, Immediate."""
    default(obj, "reclaimPolicy", "Delete")
    default(obj, "volumeBindingMode", "Immediate")


def apply_csi_driver(obj: Object) -> None:
    """Attach, persistent volumes only."""
    spec = part(obj, "spec")
    default(spec, "attachRequired", True)
    default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType")
    for name in ("podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"):
        default(spec, name, False)
    default_zero(spec, "volumeLifecycleModes", ["Persistent"])


def apply_priority_class(obj: Object) -> None:
    """Preempts."""
    default(obj, "preemptionPolicy", "PreemptLowerPriority")


TARGET_CPU_PERCENT = 80


def apply_autoscaler(obj: Object) -> None:
    """At least one replica, and 80% of CPU where nothing else is asked for."""
    spec = part(obj, "spec")
    default(spec, "minReplicas", 1)
    target = {"type": "Utilization", "averageUtilization": TARGET_CPU_PERCENT}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    default_zero(spec, "metrics", [cpu])
    behavior = spec.get("behavior")
    if behavior is not None:
        _scaling_rules(part(behavior, "scaleUp"), [("Pods", 4), ("Percent", 100)], 0)
        _scaling_rules(part(behavior, "scaleDown"), [("Percent", 100)], None)


def _scaling_rules(rules: Object, policies: list[tuple[str, int]], window_s: int | None) -> None:
    default(rules, "selectPolicy", "Max")
    if window_s is not None:
        default(rules, "stabilizationWindowSeconds", window_s)
    listed = [{"type": type_, "value": value, "periodSeconds": 15} for type_, value in policies]
    default_zero(rules, "policies", listed)


def apply_old_autoscaler(obj: Object) -> None:
    """v1: at least one replica, and 80% of CPU unless other metrics are asked for."""
    spec = part(obj, "spec")
    default(spec, "minReplicas", 1)
    if METRICS not in ((obj.get("metadata") or {}).get("annotations") or {}):
        default(spec, "targetCPUUtilizationPercentage", TARGET_CPU_PERCENT)


def apply_limit_range(obj: Object) -> None:
    """Containers are limited to the maximum, and request their limit or the minimum."""
    part(obj, "spec").setdefault("limits", [])
    for item in items(part(obj, "spec"), "limits"):
        if item.get("type") != "Container":
            continue
        chain = (("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min"))
        for name, source in chain:
            merged = {**(item.get(source) or {}), **(item.get(name) or {})}
            if merged:
                item[name] = merged


def apply_binding(obj: Object) -> None:
    """Users and groups, and the role, are of the RBAC group."""
    default(part(obj, "roleRef"), "apiGroup", RBAC_GROUP)
    for subject in items(obj, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            default(subject, "apiGroup", RBAC_GROUP)
