"""What a pod asks for: the sum of its containers, or the peak while it initialises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from cluster.machinery import quantity
from cluster.machinery.pod_amounts import Amounts, of_containers

Object = dict[str, Any]
Part = Literal["requests", "limits"]


def amounts(spec: Object, part: Part) -> Amounts:
    """As upstream's PodRequests and PodLimits: overhead and pod-level resources included."""
    total = of_containers(spec, lambda container: of(container, part)) | of(spec, part)
    for name, amount in _parsed(spec.get("overhead")).items():
        if part == "requests" or name in total:
            total[name] = total.get(name, 0) + amount
    return total


def of(holder: Object, part: Part) -> Amounts:
    """Of one container (or of the pod's own `resources`)."""
    return _parsed((holder.get("resources") or {}).get(part))


def _parsed(found: Mapping[str, Any] | None) -> Amounts:
    return {name: quantity.parse(text) for name, text in (found or {}).items()}
