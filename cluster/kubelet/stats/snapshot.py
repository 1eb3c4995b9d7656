"""What was measured at one moment, and the rates between two of them (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.kubelet.runtimes.base import Container, Usage
from cluster.kubelet.stats.node_usage import NodeUsage

Object = dict[str, Any]

MIN_RATE_S = 1.0
"""Shorter spans say nothing: ticks are a hundredth of a second."""


@dataclass(frozen=True)
class ContainerUsage:
    container: Container
    usage: Usage


@dataclass(frozen=True)
class VolumeUsage:
    """Of a volume that stands for a pod; `claim`: its key, "" where there is none."""

    name: str
    claim: str
    capacity_bytes: int
    available_bytes: int
    used_bytes: int
    inodes: int = 0
    inodes_free: int = 0


@dataclass(frozen=True)
class PodUsage:
    """Of one pod: `containers` are those that run. Sums are of them."""

    pod: Object
    containers: tuple[ContainerUsage, ...]
    volumes: tuple[VolumeUsage, ...] = ()

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def total(self) -> Usage:
        parts = [each.usage for each in self.containers]
        return Usage(
            sum(p.cpu_ns for p in parts),
            sum(p.working_set_bytes for p in parts),
            sum(p.rss_bytes for p in parts),
            sum(p.page_faults for p in parts),
            sum(p.major_page_faults for p in parts),
            sum(p.processes for p in parts),
        )


@dataclass(frozen=True)
class Snapshot:
    """`at_s`: wall seconds."""

    at_s: float
    node_name: str
    node: NodeUsage
    pods: tuple[PodUsage, ...]

    def processor_times(self) -> dict[str, int]:
        """Nanoseconds, by container id; the node under ""."""
        found = {c.container.container_id: c.usage.cpu_ns for p in self.pods for c in p.containers}
        return found | {"": self.node.cpu_ns}


def rates(now: Snapshot, before: Snapshot | None) -> Mapping[str, int]:
    """Nanoseconds of processor time a second, under the keys of `processor_times`."""
    if before is None or now.at_s - before.at_s < MIN_RATE_S:
        return {}
    span_s, old = now.at_s - before.at_s, before.processor_times()
    return {
        key: max(0, int((ns - old[key]) / span_s))
        for key, ns in now.processor_times().items()
        if key in old
    }
