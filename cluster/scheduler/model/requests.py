"""How much of each resource a pod takes from a node. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.machinery import quantity
from cluster.machinery.pod_amounts import Amounts, add, larger, of_containers

Object = dict[str, Any]
DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What containers without requests count for in scores (upstream's GetNonzeroRequests)."""
NON_ZERO = {"cpu": DEFAULT_CPU_MILLI, "memory": DEFAULT_MEMORY_BYTES}
NONE: Amounts = {}


def amount(name: str, text: str | int) -> int:
    """cpu in milli-CPUs, everything else in its own unit (bytes, pieces)."""
    return quantity.milli(text) if name == "cpu" else quantity.value(text)


def amounts(texts: Mapping[str, str | int] | None) -> Amounts:
    return {name: amount(name, text) for name, text in texts.items()} if texts else {}


@dataclass(frozen=True, slots=True)
class Port:
    """A host port that a pod needs for itself; address "0.0.0.0" is all addresses."""

    address: str
    protocol: str
    number: int


def pod_requests(pod: Object, least: Amounts = NONE) -> Amounts:
    """Containers together, or the init container that needs more; sidecars stay; overhead.

    What is asked for the pod as a whole comes before what its containers ask for. `least` stands
    in for requests that a container leaves out.
    """
    spec = pod.get("spec") or {}
    actual = _actual(pod)
    total = of_containers(spec, lambda container: _of_container(container, least, actual))
    whole = amounts((spec.get("resources") or {}).get("requests"))
    total |= {name: number for name, number in whole.items() if _for_whole_pods(name)}
    add(total, amounts(spec.get("overhead")))
    return total


def _for_whole_pods(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def _of_container(container: Object, least: Amounts, actual: Mapping[str, Amounts]) -> Amounts:
    asked = amounts((container.get("resources") or {}).get("requests"))
    if actual and container["name"] in actual:
        asked = larger(asked, actual[container["name"]])
    return {**least, **asked} if least else asked


def _actual(pod: Object) -> dict[str, Amounts]:
    """While a pod is being resized, the larger of what it has and what it asks for counts."""
    status = pod.get("status") or {}
    found = {}
    kinds = ("containerStatuses", "initContainerStatuses")
    for entry in (entry for kind in kinds for entry in status.get(kind) or ()):
        has = amounts((entry.get("resources") or {}).get("requests"))
        given = amounts(entry.get("allocatedResources"))
        if has or given:
            found[entry["name"]] = larger(has, given)
    return found


def host_ports(spec: Object) -> Iterable[Port]:
    """Of containers, and of init containers that stay (sidecars)."""
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                address = port.get("hostIP") or "0.0.0.0"
                yield Port(address, port.get("protocol") or "TCP", int(port["hostPort"]))
