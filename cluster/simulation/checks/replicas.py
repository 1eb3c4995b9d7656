"""ReplicaSets make no more pods than asked for; Deployments keep to their limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import intstr, meta
from cluster.simulation.checks import losses
from cluster.simulation.checks.history import (
    Change,
    History,
    is_active,
    is_over,
    is_ready,
    replicas,
)

Object = dict[str, Any]
ROUNDED_S = 1.0
"""Times of conditions are whole seconds: a pod counts as available up to that much early."""


def limits(spec: Object) -> tuple[int, int]:
    """(most replicas, fewest available) of a Deployment's spec."""
    total = replicas(spec)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return total, 0
    rolling = strategy.get("rollingUpdate") or {}
    surge = intstr.resolve(rolling.get("maxSurge", "25%"), total, True)
    down = intstr.resolve(rolling.get("maxUnavailable", "25%"), total, False)
    if surge == 0 and down == 0:
        down = 1
    return total + surge, total - min(down, total)


def check(change: Change, history: History) -> Iterator[str]:
    if change.kind == "Pod":
        yield from _created(change, history)
        yield from _taken(change, history)
    elif change.kind == "ReplicaSet" and change.new is not None:
        yield from _grown(change, change.new, history)


def _created(change: Change, history: History) -> Iterator[str]:
    reference = meta.controller_of(change.obj)
    if change.old is not None or change.new is None or reference is None:
        return
    if reference["kind"] not in ("ReplicaSet", "ReplicationController"):
        return
    owner = history.by_uid.get(reference["uid"])
    if owner is None:
        yield f"{change.key} was created for an owner that never was"
        return
    count = sum(map(is_active, history.of(reference["uid"], "Pod")))
    most = max(map(replicas, history.recent_specs(owner, change.now_s)))
    if count > most:
        yield f"{change.key} is pod {count} of {reference['name']}, which asks for {most}"


def _grown(change: Change, new: Object, history: History) -> Iterator[str]:
    before = replicas(change.old["spec"]) if change.old else 0
    reference = meta.controller_of(new)
    if replicas(new["spec"]) <= before or reference is None:
        return
    owner = history.by_uid.get(reference["uid"])
    if owner is None:
        return
    total = sum(replicas(s["spec"]) for s in history.of(reference["uid"], "ReplicaSet"))
    most = max(limits(spec)[0] for spec in history.recent_specs(owner, change.now_s))
    if total > most:
        yield f"{change.key} grows to {replicas(new['spec'])}: {total} in all, at most {most}"
    yield from _recreated(change, owner, history)


def _recreated(change: Change, owner: Object, history: History) -> Iterator[str]:
    """Recreate: no pod of an older template runs any more when the new ones come."""
    specs = history.recent_specs(owner, change.now_s)
    if any((s.get("strategy") or {}).get("type") != "Recreate" for s in specs) or len(specs) > 2:
        return
    for sibling in history.of(owner["metadata"]["uid"], "ReplicaSet"):
        if sibling["metadata"]["uid"] == change.obj["metadata"]["uid"]:
            continue
        for pod in history.of(sibling["metadata"]["uid"], "Pod"):
            if not is_over(pod):
                yield f"{change.key} grows while {pod['metadata']['name']} still runs (Recreate)"


def _taken(change: Change, history: History) -> Iterator[str]:
    """No controller takes a ready pod away that a rollout cannot spare."""
    if not losses.taken_by_controller(change, history):
        return
    reference = meta.controller_of(change.obj)
    owner = history.alive(reference["uid"]) if reference else None
    above = meta.controller_of(owner) if owner else None
    if above is None or above["kind"] != "Deployment":
        return
    deployment = history.alive(above["uid"])
    if deployment is None or deployment["metadata"].get("deletionTimestamp"):
        return
    needed_s = float(deployment["spec"].get("minReadySeconds") or 0)
    if history.ready_for_s(change.obj, change.now_s) < needed_s + ROUNDED_S:
        return
    uid = deployment["metadata"]["uid"]
    sets = history.of(uid, "ReplicaSet")
    ready = sum(is_ready(p) for s in sets for p in history.of(s["metadata"]["uid"], "Pod"))
    least = min(limits(spec)[1] for spec in history.recent_specs(deployment, change.now_s))
    lost = history.losses(uid, change.now_s)
    if ready + lost < least:
        name = deployment["metadata"]["name"]
        yield f"{change.key} is taken: {name} has {ready} ready (+{lost} lost) of {least}"
