"""The quality-of-service class of a pod, which follows from what its containers ask for."""

from __future__ import annotations

from cluster.machinery import quantity
from cluster.machinery.meta import Object


def class_of(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory of the pod as a whole (KEP-2837),
    or of all containers."""
    if any(_amounts(spec, part) for part in ("requests", "limits")):
        return _class_of([_amounts(spec, "requests")], [_amounts(spec, "limits")])
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    requests = [_amounts(c, "requests") for c in containers]
    limits = [_amounts(c, "limits") for c in containers]
    return _class_of(requests, limits)


def _class_of(requests: list[dict[str, int]], limits: list[dict[str, int]]) -> str:
    if not any(requests) and not any(limits):
        return "BestEffort"
    full = all(
        set(limit) == {"cpu", "memory"} and all(request.get(n, v) == v for n, v in limit.items())
        for request, limit in zip(requests, limits, strict=True)
    )
    return "Guaranteed" if full else "Burstable"


def _amounts(container: Object, part: str) -> dict[str, int]:
    found = (container.get("resources") or {}).get(part) or {}
    amounts: dict[str, int] = {}
    for name in ("cpu", "memory"):
        try:
            amount = quantity.parse(str(found[name])) if name in found else 0
        except ValueError:
            continue  # validation reports it; here it only must not matter
        if amount:
            amounts[name] = amount
    return amounts
