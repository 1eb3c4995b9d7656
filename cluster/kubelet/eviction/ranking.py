"""Which pod is to go first, and what it is told. Pure, after upstream's eviction/helpers.go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.kubelet import admission
from cluster.kubelet.eviction.local_storage import binary
from cluster.kubelet.eviction.thresholds import RESOURCES, Observed, Threshold

Object = dict[str, Any]

CRITICAL_PRIORITY = 2_000_000_000
_STATIC = "kubernetes.io/config.source"


@dataclass(frozen=True)
class Candidate:
    """A pod that runs, and what it uses: bytes, inodes, processes, by the names in RESOURCES."""

    pod: Object
    usage: Mapping[str, int]
    containers: Mapping[str, Mapping[str, int]]
    """The same for each container, for the message."""

    @property
    def priority(self) -> int:
        return int(self.pod["spec"].get("priority") or 0)


def is_critical(pod: Object) -> bool:
    """Nothing is gained by ending what the node itself brings up again."""
    source = (pod["metadata"].get("annotations") or {}).get(_STATIC, "api")
    return source != "api" or int(pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


def ranked(candidates: Sequence[Candidate], resource: str) -> list[Candidate]:
    """The first to go first: beyond its request, of low priority, far beyond its request."""
    if resource == "pids":
        return sorted(candidates, key=lambda c: (c.priority, -c.usage.get(resource, 0)))

    def key(candidate: Candidate) -> tuple[bool, int, int]:
        asked = admission.requests(candidate.pod).get(resource, 0)
        beyond = candidate.usage.get(resource, 0) - asked
        return beyond <= 0, candidate.priority, -beyond

    return sorted(candidates, key=key)


def message(candidate: Candidate, threshold: Threshold, found: Observed) -> str:
    resource = RESOURCES[threshold.signal]
    limit = _quantity(threshold.limit(found.capacity), resource)
    text = (
        f"The node was low on resource: {resource}. Threshold quantity: {limit}, "
        f"available: {_quantity(found.available, resource)}. "
    )
    for container in candidate.pod["spec"].get("containers") or ():
        used = candidate.containers.get(container["name"], {}).get(resource, 0)
        requests = (container.get("resources") or {}).get("requests") or {}
        asked = admission.amounts({resource: requests[resource]}) if resource in requests else {}
        if used > asked.get(resource, 0):
            text += (
                f"Container {container['name']} was using {_quantity(used, resource)}, "
                f"request is {requests.get(resource, '0')}, has larger consumption of {resource}. "
            )
    return text


def _quantity(amount: int, resource: str) -> str:
    return str(amount) if resource in ("inodes", "pids") else binary(amount)
