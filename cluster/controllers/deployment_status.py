"""The status and conditions of a Deployment. Pure.

The rules are upstream's: pkg/controller/deployment (progress.go, sync.go, util).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from cluster.controllers.deployment_facts import counted, surge_and_unavailable, wanted
from cluster.machinery import meta

Object = dict[str, Any]

NO_DEADLINE = 2**31 - 1


def deadline_s(deployment: Object) -> int | None:
    """progressDeadlineSeconds; None when there is none."""
    value = deployment["spec"].get("progressDeadlineSeconds")
    return None if value in (None, NO_DEADLINE) else int(value)


def find(status: Object, type_: str) -> Object | None:
    return meta.condition({"status": status}, type_)


def remove(status: Object, type_: str) -> None:
    status["conditions"] = [c for c in status.get("conditions") or () if c["type"] != type_]


def put(status: Object, now_s: float, type_: str, value: str, reason: str, message: str) -> None:
    """Nothing changes while status and reason stay (upstream's SetDeploymentCondition)."""
    old = find(status, type_)
    if old is not None and (old["status"], old.get("reason")) == (value, reason):
        return
    now = meta.format_time(now_s)
    since = old["lastTransitionTime"] if old is not None and old["status"] == value else now
    remove(status, type_)
    status["conditions"].append(
        {
            "type": type_,
            "status": value,
            "lastUpdateTime": now,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }
    )


def counters(
    deployment: Object, sets: Sequence[Object], new: Object | None, now_s: float
) -> Object:
    """Counters and the Available condition; other conditions are carried over."""
    available = sum(counted(s, "availableReplicas") for s in sets)
    replicas = sum(counted(s, "replicas") for s in sets)
    counts = {
        "replicas": replicas,
        "updatedReplicas": counted(new, "replicas") if new else 0,
        "readyReplicas": sum(counted(s, "readyReplicas") for s in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(map(wanted, sets)) - available),
        "collisionCount": counted(deployment, "collisionCount"),
    }
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    status |= {name: count for name, count in counts.items() if count}
    conditions = (deployment.get("status") or {}).get("conditions") or []
    status["conditions"] = copy.deepcopy(conditions)
    _, unavailable = surge_and_unavailable(deployment)
    if available >= wanted(deployment) - unavailable:
        message = "Deployment has minimum availability."
        put(status, now_s, "Available", "True", "MinimumReplicasAvailable", message)
    else:
        message = "Deployment does not have minimum availability."
        put(status, now_s, "Available", "False", "MinimumReplicasUnavailable", message)
    return status


def is_complete(deployment: Object, status: Object) -> bool:
    """Everything is updated and available, and no old pod is left."""
    view = {"status": status}
    goal = wanted(deployment)
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return seen and all(counted(view, field) == goal for field in fields)


def _progressed(old: Object, new: Object) -> bool:
    before, after = {"status": old}, {"status": new}

    def left(view: Object) -> int:
        return counted(view, "replicas") - counted(view, "updatedReplicas")

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return left(after) < left(before) or any(
        counted(after, field) > counted(before, field) for field in grown
    )


def timed_out(deployment: Object, status: Object, now_s: float) -> bool:
    """No progress was made within the deadline."""
    condition, limit_s = find(status, "Progressing"), deadline_s(deployment)
    if condition is None or limit_s is None or condition["reason"] == "NewReplicaSetAvailable":
        return False
    if condition["reason"] == "ProgressDeadlineExceeded":
        return True
    return meta.parse_time(condition["lastUpdateTime"]) + limit_s < now_s


def rollout_status(
    deployment: Object, sets: Sequence[Object], new: Object | None, now_s: float
) -> Object:
    """The whole status while a rollout is followed, with Progressing and ReplicaFailure."""
    status = counters(deployment, sets, new, now_s)
    if deadline_s(deployment) is None:
        remove(status, "Progressing")
    elif not _was_complete(status):
        _progress(deployment, status, new, now_s)
    failure = _replica_failure(sets, new)
    if failure is None:
        remove(status, "ReplicaFailure")
    else:
        put(status, now_s, "ReplicaFailure", "True", failure["reason"], failure["message"])
    return status


def _was_complete(status: Object) -> bool:
    condition = find(status, "Progressing")
    return (
        condition is not None
        and condition["reason"] == "NewReplicaSetAvailable"
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
    )


def _progress(deployment: Object, status: Object, new: Object | None, now_s: float) -> None:
    if new is not None:
        subject = f'ReplicaSet "{new["metadata"]["name"]}"'
    else:
        subject = f'Deployment "{deployment["metadata"]["name"]}"'
    if is_complete(deployment, status):
        message = f"{subject} has successfully progressed."
        put(status, now_s, "Progressing", "True", "NewReplicaSetAvailable", message)
    elif _progressed(deployment.get("status") or {}, status):
        since = (find(status, "Progressing") or {}).copy()
        remove(status, "Progressing")
        message = f"{subject} is progressing."
        put(status, now_s, "Progressing", "True", "ReplicaSetUpdated", message)
        if since.get("status") == "True":
            status["conditions"][-1]["lastTransitionTime"] = since["lastTransitionTime"]
    elif timed_out(deployment, status, now_s):
        message = f"{subject} has timed out progressing."
        put(status, now_s, "Progressing", "False", "ProgressDeadlineExceeded", message)


def _replica_failure(sets: Sequence[Object], new: Object | None) -> Object | None:
    """That of the new ReplicaSet, else of any other."""
    ordered = ([new] if new else []) + [s for s in sets if s is not new]
    for item in ordered:
        condition = meta.condition(item, "ReplicaFailure")
        if condition is not None and condition["status"] == "True":
            return condition
    return None


def recheck_in_s(deployment: Object, status: Object, now_s: float) -> float | None:
    """When the progress deadline is due; None when nothing can time out."""
    condition, limit_s = find(status, "Progressing"), deadline_s(deployment)
    if condition is None or limit_s is None or is_complete(deployment, status):
        return None
    if condition["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    return max(0.0, meta.parse_time(condition["lastUpdateTime"]) + limit_s - now_s) + 1.0
