"""The status of a ReplicaSet from its pods. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.controllers import pods
from cluster.machinery import meta

Object = dict[str, Any]


def status_of(
    owner: Object, active: Sequence[Object], failure: Exception | None, now_s: float
) -> Object:
    """As upstream's calculateStatus; counters that are zero are left out, as in Go."""
    spec = owner["spec"]
    wanted_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready_s = float(spec.get("minReadySeconds") or 0)
    counts = {
        "fullyLabeledReplicas": sum(_has_labels(pod, wanted_labels) for pod in active),
        "readyReplicas": sum(map(pods.is_ready, active)),
        "availableReplicas": sum(pods.is_available(p, min_ready_s, now_s) for p in active),
    }
    status: Object = {"replicas": len(active)}
    status |= {name: count for name, count in counts.items() if count}
    status["observedGeneration"] = owner["metadata"].get("generation", 0)
    if conditions := _conditions(owner, len(active), failure, now_s):
        status["conditions"] = conditions
    return status


def _has_labels(pod: Object, wanted: dict[str, str]) -> bool:
    return wanted.items() <= (pod["metadata"].get("labels") or {}).items()


def _conditions(owner: Object, count: int, failure: Exception | None, now_s: float) -> list[Object]:
    old = (owner.get("status") or {}).get("conditions") or []
    others = [condition for condition in old if condition["type"] != "ReplicaFailure"]
    if failure is None:
        return others
    present = next((c for c in old if c["type"] == "ReplicaFailure"), None)
    if present is not None:
        return [*others, present]
    missing = int(owner["spec"].get("replicas", 1)) - count
    return [
        *others,
        {
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": meta.format_time(now_s),
            "reason": "FailedCreate" if missing > 0 else "FailedDelete",
            "message": str(failure),
        },
    ]
