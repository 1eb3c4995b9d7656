"""Whether this node can take a pod that was bound to it. Pure, after upstream's kubelet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cluster.machinery import quantity

Object = dict[str, Any]


def requests(pod: Object) -> dict[str, int]:
    """Milli-CPU and whole units of what the pod asks for: containers, or its largest init step."""
    spec = pod["spec"]
    running = _sum(_of(container) for container in spec.get("containers") or ())
    largest: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            running = _sum([running, _of(container)])
        else:
            step = _of(container)
            largest = {k: max(largest.get(k, 0), step.get(k, 0)) for k in {*largest, *step}}
    names = {*running, *largest}
    needed = {name: max(running.get(name, 0), largest.get(name, 0)) for name in names}
    needed |= amounts((spec.get("resources") or {}).get("requests") or {})  # of the pod as a whole
    return _sum([needed, amounts(spec.get("overhead") or {})])


def _of(container: Object) -> dict[str, int]:
    return amounts((container.get("resources") or {}).get("requests") or {})


def amounts(values: Mapping[str, str]) -> dict[str, int]:
    return {
        name: quantity.milli(text) if name == "cpu" else quantity.value(text)
        for name, text in values.items()
    }


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0) + amount
    return total


def used_by(pods: Iterable[Object]) -> dict[str, int]:
    """What these pods take of a node, the number of them too."""
    pods = list(pods)
    return _sum([*map(requests, pods), {"pods": len(pods)}])


def refusal(
    pod: Object, used: Mapping[str, int], labels: Mapping[str, str], capacity: Mapping[str, int]
) -> tuple[str, str] | None:
    """(reason, message) if the pod cannot run beside what is `used`; None if it can."""
    selector = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        what = "node(s) didn't match Pod's node affinity/selector"
        return "NodeAffinity", f"Predicate NodeAffinity failed: {what}"
    wanted = requests(pod) | {"pods": 1}
    for name, amount in sorted(wanted.items()):
        if amount and used.get(name, 0) + amount > capacity.get(name, 0):
            message = (
                f"Node didn't have enough resource: {name}, requested: {amount}, "
                f"used: {used.get(name, 0)}, capacity: {capacity.get(name, 0)}"
            )
            return f"OutOf{name}", message
    return None


def resize_refusal(
    pod: Object, used: Mapping[str, int], capacity: Mapping[str, int]
) -> tuple[str, str] | None:
    """Why a pod that is here cannot have what it asks for: never, or not now. As KEP-1287."""
    wanted = requests(pod)
    for name in ("cpu", "memory"):
        amount, whole = wanted.get(name, 0), capacity.get(name, 0)
        if amount > whole:
            text = f"Node didn't have enough capacity: {name}, requested: {amount}"
            return "Infeasible", f"{text}, capacity: {whole}"
        if used.get(name, 0) + amount > whole:
            text = f"Node didn't have enough resource: {name}, requested: {amount}"
            return "Deferred", f"{text}, used: {used.get(name, 0)}, capacity: {whole}"
    return None
