"""What a pod asks for: the sum of its containers, or the peak while it initialises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from cluster.machinery import quantity

Object = dict[str, Any]
Amounts = dict[str, int]
Part = Literal["requests", "limits"]


def amounts(spec: Object, part: Part) -> Amounts:
    """As upstream's PodRequests and PodLimits: overhead and pod-level resources included."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, of(container, part))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = of(container, part)
        if container.get("restartPolicy") == "Always":
            _add(total, own)
            _add(sidecars, own)
            own = dict(sidecars)
        else:
            _add(own, sidecars)
        peak = _larger(peak, own)
    total = _larger(total, peak) | of(spec, part)
    for name, amount in _parsed(spec.get("overhead")).items():
        if part == "requests" or name in total:
            total[name] = total.get(name, 0) + amount
    return total


def of(holder: Object, part: Part) -> Amounts:
    """Of one container (or of the pod's own `resources`)."""
    return _parsed((holder.get("resources") or {}).get(part))


def _parsed(found: Mapping[str, Any] | None) -> Amounts:
    return {name: quantity.parse(text) for name, text in (found or {}).items()}


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _larger(one: Amounts, other: Amounts) -> Amounts:
    return {n: max(one.get(n, 0), other.get(n, 0)) for n in {**one, **other}}
