"""Pods: a status of their own from the start, and graceful deletion."""

from __future__ import annotations

from cluster.machinery import qos
from cluster.storage import encoding
from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy, keep, keep_all_but_managers

DEFAULT_GRACE_S = 30
FINISHED = ("Succeeded", "Failed")
GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


class PodStrategy(Strategy):
    selectable = (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    )
    has_status = True
    counts_generation = True
    returns_deleted = True

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        spec = obj.get("spec") or {}
        obj["status"] = {"phase": "Pending", "qosClass": qos.class_of(spec)}
        if spec.get("schedulingGates"):
            obj["status"]["conditions"] = [dict(GATED)]

    def prepare_status(self, new: Object, old: Object) -> None:
        super().prepare_status(new, old)
        status, before = new.setdefault("status", {}), old.get("status") or {}
        if before.get("qosClass"):
            status["qosClass"] = before["qosClass"]

    def prepare_other(self, new: Object, old: Object, subresource: str) -> None:
        """`/ephemeralcontainers` and `/resize` write their part of the spec alone."""
        spec = new.get("spec") or {}
        keep(new, old, "status")
        keep_all_but_managers(new, old)
        new["spec"] = encoding.copied(old["spec"])
        if subresource == "ephemeralcontainers":
            keep(new["spec"], spec, "ephemeralContainers")
        else:
            _resize(new["spec"], spec)
        if new["spec"] != old["spec"]:
            generation = old["metadata"].get("generation", 0) + 1
            new["metadata"]["generation"] = generation

    def grace_s(self, obj: Object, asked_s: int | None) -> int:
        """None for pods that no kubelet runs: unscheduled ones and finished ones."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if not spec.get("nodeName") or status.get("phase") in FINISHED:
            return 0
        if asked_s is None:
            asked_s = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)
        return max(asked_s, 1) if asked_s < 0 else asked_s


def _resize(kept: Object, asked: Object) -> None:
    """Take over resources and resize policies of containers, by name."""
    for part in ("containers", "initContainers"):
        wanted = {c.get("name"): c for c in asked.get(part) or ()}
        for container in kept.get(part) or ():
            for name in ("resources", "resizePolicy"):
                keep(container, wanted.get(container["name"], container), name)
