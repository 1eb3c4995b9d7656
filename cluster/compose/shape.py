"""What a person asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_GROUPS = 4
"""Of controller managers, beside the first one."""
DOMAIN = "cluster.local"


def ray_address(network: int) -> str:
    return f"127.{network}.0.1:{6300 + network}"


@dataclass(frozen=True)
class Shape:
    """What a person asks for. `network` is A of the contracts: 127.A for pods, 127.(A+1) else."""

    name: str
    folder: str
    network: int
    members: int = 3
    api_servers: int = 1
    schedulers: int = 2
    controller_managers: int = 2
    """Of each group."""
    controller_groups: list[str] = field(default_factory=list)
    """Names of controllers, comma-separated, that managers of their own run; at most MAX_GROUPS."""
    nodes: int = 3
    fleets: int = 0
    """Actors that simulate nodes; the nodes themselves are made through the API."""
    etcd: bool = False
    """Whether members serve etcd's protocol too."""
    scheduler_configuration: dict[str, Any] = field(default_factory=dict)
    """A KubeSchedulerConfiguration; empty: the default one."""
    audit_policy: str = ""
    """The file of an audit policy; without one nothing is noted."""
    metrics: bool = True
    """Whether metrics.k8s.io is served, beside the first controller manager."""
    runtime: str = "process"
    """What runs the containers of nodes: see `kubelet.runtimes.choice`."""
    runtime_endpoint: str = ""
    """Where it answers, on each machine with nodes; for container managers."""
    kubelet: dict[str, Any] = field(default_factory=dict)
    """More settings for every kubelet: see `kubelet.configuration`."""
    registries: dict[str, Any] = field(default_factory=dict)
    """What nodes pull images from: see `kubelet.images.settings`."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Shape:
        return cls(**saved)

    @property
    def groups(self) -> int:
        """Of controller managers, with that of all controllers that no other group has."""
        return 1 + len(self.controller_groups)

    @property
    def ray_address(self) -> str:
        """Of the private head. Its port is the cluster's own: Ray takes it on all interfaces."""
        return ray_address(self.network)

    @property
    def service_cidr(self) -> str:
        return f"127.{self.network + 1}.0.0/16"

    @property
    def dns_address(self) -> str:
        return f"127.{self.network + 1}.0.10"

    def path(self, *parts: str) -> str:
        return os.path.join(self.folder, *parts)

    @property
    def image_store(self) -> str:
        """Of the nodes on one machine together."""
        return self.path("images")

    def node_folder(self, node: str) -> str:
        return self.path("nodes", node)
