"""A pod as the scheduler sees it: everything that decides where it can run, parsed once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cluster.machinery.pod_amounts import Amounts
from cluster.scheduler.model.requests import NON_ZERO, Port, host_ports, pod_requests
from cluster.scheduler.model.terms import Affinity

Object = dict[str, Any]


@dataclass(frozen=True, eq=False)
class PodInfo:
    """`requests` with overhead; `scored` with defaults for containers that state none."""

    pod: Object
    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    priority: int
    terminating: bool
    requests: Amounts
    scored: Amounts
    ports: tuple[Port, ...]
    affinity: Affinity
    claims: tuple[str, ...]
    """Keys of the PersistentVolumeClaims that it uses."""

    @classmethod
    def of(cls, pod: Object) -> PodInfo:
        metadata, spec = pod["metadata"], pod.get("spec") or {}
        return cls(
            pod,
            metadata["uid"],
            metadata.get("namespace", ""),
            metadata["name"],
            metadata.get("labels") or {},
            int(spec.get("priority") or 0),
            bool(metadata.get("deletionTimestamp")),
            pod_requests(pod),
            pod_requests(pod, NON_ZERO),
            tuple(host_ports(spec)),
            Affinity.of(pod),
            tuple(_claims(metadata, spec)),
        )

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def spec(self) -> Object:
        return self.pod.get("spec") or {}

    @property
    def scheduler_name(self) -> str:
        return self.spec.get("schedulerName") or "default-scheduler"

    @property
    def nominated(self) -> str:
        """The node that preemption made room on for it."""
        return (self.pod.get("status") or {}).get("nominatedNodeName") or ""

    @cached_property
    def wanted(self) -> tuple[tuple[str, int], ...]:
        """`requests` as a value."""
        return tuple(sorted(self.requests.items()))

    @cached_property
    def kind(self) -> Hashable:
        """What other pods' selectors see of it."""
        return self.namespace, frozenset(self.labels.items()), self.terminating

    def counts_like(self, other: PodInfo) -> bool:
        """Whether it takes the same of a node, so that nothing has to be accounted anew."""
        return (
            self.kind == other.kind
            and self.requests == other.requests
            and self.scored == other.scored
            and self.ports == other.ports
            and self.affinity == other.affinity
            and self.claims == other.claims
            and self.priority == other.priority
        )


def _claims(metadata: Object, spec: Object) -> list[str]:
    """Named ones, and those that are made for ephemeral volumes (POD-VOLUME)."""
    found = []
    for volume in spec.get("volumes") or ():
        if named := volume.get("persistentVolumeClaim"):
            found.append(f"{metadata.get('namespace', '')}/{named['claimName']}")
        elif "ephemeral" in volume:
            name = f"{metadata['name']}-{volume['name']}"
            found.append(f"{metadata.get('namespace', '')}/{name}")
    return found
