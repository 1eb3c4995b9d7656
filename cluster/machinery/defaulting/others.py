"""Defaults of storage, scheduling, autoscaling and access rules."""

from __future__ import annotations

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


def apply_autoscaler(obj: Object) -> None:
    """At least one replica."""
    default(part(obj, "spec"), "minReplicas", 1)


def apply_binding(obj: Object) -> None:
    """Users and groups, and the role, are of the RBAC group."""
    default(part(obj, "roleRef"), "apiGroup", RBAC_GROUP)
    for subject in items(obj, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            default(subject, "apiGroup", RBAC_GROUP)
