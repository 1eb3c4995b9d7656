"""How much the containers of a pod come to together. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Amounts = dict[str, int]
"""By name of the resource, in units of the caller's choice."""


def of_containers(spec: Object, of: Callable[[Object], Amounts]) -> Amounts:
    """Containers together, or the init container that needs more; sidecars stay (KEP-753).

    `of` gives a container's own amounts, as a new dict.
    """
    total: Amounts = {}
    for container in spec.get("containers") or ():
        add(total, of(container))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = of(container)
        if container.get("restartPolicy") == "Always":
            add(total, own)
            add(sidecars, own)
            own = dict(sidecars)
        else:
            add(own, sidecars)
        peak = larger(peak, own)
    return larger(total, peak)


def larger(one: Amounts, other: Amounts) -> Amounts:
    """The larger of each."""
    if not other:
        return one
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}


def add(total: Amounts, more: Amounts) -> None:
    """Into `total`, in place."""
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount
