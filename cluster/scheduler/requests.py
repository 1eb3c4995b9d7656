"""What a pod asks of a node, read once from its spec. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.machinery import quantity

Object = dict[str, Any]
Amounts = dict[str, int]
"""cpu in milli-CPUs, everything else in its own unit (bytes, pieces)."""

DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What containers without requests count for in scores (upstream's GetNonzeroRequests)."""


def amount(name: str, text: str | int) -> int:
    return quantity.milli(text) if name == "cpu" else quantity.value(text)


def amounts(texts: Mapping[str, str | int] | None) -> Amounts:
    return {name: amount(name, text) for name, text in (texts or {}).items()}


@dataclass(frozen=True)
class Port:
    """A host port that a pod needs for itself; address "0.0.0.0" is all addresses."""

    address: str
    protocol: str
    number: int


@dataclass(frozen=True)
class PodRequest:
    """The parts of a pod that decide where it can run."""

    uid: str
    namespace: str
    name: str
    spec: Object
    requests: Amounts
    scored: Amounts
    ports: tuple[Port, ...]

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, pod: Object) -> PodRequest:
        spec = pod.get("spec") or {}
        metadata = pod["metadata"]
        return cls(
            metadata["uid"],
            metadata.get("namespace", ""),
            metadata["name"],
            spec,
            pod_requests(spec, {}),
            pod_requests(spec, {"cpu": DEFAULT_CPU_MILLI, "memory": DEFAULT_MEMORY_BYTES}),
            tuple(_ports(spec)),
        )


def pod_requests(spec: Object, least: Amounts) -> Amounts:
    """Containers together, or the init container that needs more; sidecars stay; overhead.

    `least` stands in for requests that a container leaves out.
    """
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _of_container(container, least))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _of_container(container, least)
        if container.get("restartPolicy") == "Always":
            _add(total, own)
            _add(sidecars, own)
            own = dict(sidecars)
        else:
            own = {n: own.get(n, 0) + sidecars.get(n, 0) for n in own.keys() | sidecars.keys()}
        peak = {n: max(peak.get(n, 0), own.get(n, 0)) for n in peak.keys() | own.keys()}
    total = {n: max(total.get(n, 0), peak.get(n, 0)) for n in total.keys() | peak.keys()}
    _add(total, amounts(spec.get("overhead")))
    return total


def _of_container(container: Object, least: Amounts) -> Amounts:
    return {**least, **amounts((container.get("resources") or {}).get("requests"))}


def _add(total: Amounts, more: Amounts) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number


def _ports(spec: Object) -> Iterable[Port]:
    for container in spec.get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                address = port.get("hostIP") or "0.0.0.0"
                yield Port(address, port.get("protocol", "TCP"), int(port["hostPort"]))
