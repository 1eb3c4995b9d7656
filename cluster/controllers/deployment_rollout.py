"""How many pods each ReplicaSet of a Deployment should have next. Pure.

The rules are upstream's: k8s.io/kubernetes/pkg/controller/deployment (rolling.go, sync.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.controllers.deployment_facts import (
    DESIRED,
    MAXIMUM,
    active,
    annotation,
    by_age,
    counted,
    is_rolling,
    surge_and_unavailable,
    wanted,
)

Object = dict[str, Any]
Sizes = dict[str, int]
"""Names of ReplicaSets and the sizes they should get; those to be left alone are missing."""


def total(sets: Sequence[Object]) -> int:
    return sum(map(wanted, sets))


def is_scaling(deployment: Object, sets: Sequence[Object]) -> bool:
    """Whether `spec.replicas` changed since the ReplicaSets were sized."""
    known = [annotation(s, DESIRED) for s in active(sets)]
    return any(text.isdigit() and int(text) != wanted(deployment) for text in known)


def new_set_size(deployment: Object, new: Object | None, sets: Sequence[Object]) -> int:
    """The size of the new ReplicaSet; growth is bounded by maxSurge over all of them."""
    current = wanted(new) if new else 0
    if not is_rolling(deployment) or current >= wanted(deployment):
        return wanted(deployment)
    surge, _ = surge_and_unavailable(deployment)
    room = wanted(deployment) + surge - total(sets)
    return current + max(0, min(room, wanted(deployment) - current))


def shrink_old(deployment: Object, new: Object, old: Sequence[Object]) -> Sizes:
    """First take away pods that are not available, then available ones that can be spared."""
    if total(old) == 0:
        return {}
    _, unavailable = surge_and_unavailable(deployment)
    least = wanted(deployment) - unavailable
    new_unavailable = wanted(new) - counted(new, "availableReplicas")
    spare = total(old) + wanted(new) - least - new_unavailable
    if spare <= 0:
        return {}
    sizes = {s["metadata"]["name"]: wanted(s) for s in by_age(old)}
    before = dict(sizes)
    for item in by_age(old):
        broken = wanted(item) - counted(item, "availableReplicas")
        taken = max(0, min(spare, broken))
        sizes[item["metadata"]["name"]] -= taken
        spare -= taken
    # Where a set was just shrunk, its status still counts pods that are about to go.
    spare = sum(min(wanted(s), counted(s, "availableReplicas")) for s in [new, *old]) - least
    for item in by_age(old):
        taken = max(0, min(spare, sizes[item["metadata"]["name"]]))
        sizes[item["metadata"]["name"]] -= taken
        spare -= taken
    return {name: size for name, size in sizes.items() if size != before[name]}


def is_saturated(deployment: Object, new: Object | None) -> bool:
    """The new ReplicaSet is as large as asked for, and all of it is available."""
    return (
        new is not None
        and annotation(new, DESIRED) == str(wanted(deployment))
        and wanted(new) == wanted(deployment)
        and counted(new, "availableReplicas") == wanted(deployment)
    )


def scale(deployment: Object, new: Object | None, old: Sequence[Object]) -> Sizes:
    """Sizes after `spec.replicas` changed: in proportion while several are active."""
    if (only := _active_or_latest(new, old)) is not None:
        change = wanted(only) != wanted(deployment)
        return {only["metadata"]["name"]: wanted(deployment)} if change else {}
    if is_saturated(deployment, new):
        return {s["metadata"]["name"]: 0 for s in active(old)}
    if not is_rolling(deployment):
        return {}
    return _in_proportion(deployment, active([*([new] if new else []), *old]))


def _active_or_latest(new: Object | None, old: Sequence[Object]) -> Object | None:
    everyone = [*([new] if new else []), *old]
    several = active(everyone)
    if len(several) > 1 or not everyone:
        return None
    return several[0] if several else (new or by_age(old)[-1])


def _in_proportion(deployment: Object, sets: Sequence[Object]) -> Sizes:
    surge, _ = surge_and_unavailable(deployment)
    allowed = wanted(deployment) + surge if wanted(deployment) > 0 else 0
    to_add = allowed - total(sets)
    newest_first = to_add > 0
    ordered = by_age(sets)[::-1] if newest_first else by_age(sets)
    ordered.sort(key=wanted, reverse=True)
    sizes: Sizes = {}
    added = 0
    for item in ordered:
        share = _proportion(deployment, item, surge, to_add, added)
        sizes[item["metadata"]["name"]] = wanted(item) + share
        added += share
    if ordered and to_add != added:
        name = ordered[0]["metadata"]["name"]
        sizes[name] = max(0, sizes[name] + to_add - added)
    return sizes


def _proportion(deployment: Object, item: Object, surge: int, to_add: int, added: int) -> int:
    """The part of `to_add` that falls to one ReplicaSet (upstream's GetReplicaSetProportion)."""
    if wanted(item) == 0 or to_add in (0, added):
        return 0
    left = to_add - added
    share = _fraction(deployment, item, surge)
    return min(share, left) if to_add > 0 else max(share, left)


def _fraction(deployment: Object, item: Object, surge: int) -> int:
    if wanted(deployment) == 0:
        return -wanted(item)
    text = annotation(item, MAXIMUM)
    before = int(text) if text.isdigit() and int(text) else counted(deployment, "replicas")
    if not before:
        return 0
    size = wanted(item) * (wanted(deployment) + surge) / before
    return int(size + 0.5) - wanted(item)
