"""Which instances a cluster has, and at which addresses and ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.placement import Machine, spread
from cluster.compose.shape import Shape

CLIENT_PORT, PEER_PORT, API_PORT, KUBELET_PORT, DNS_PORT = 2379, 2380, 6443, 10250, 53
METRICS_PORT = 4443
ETCD_PORT, FLEET_PORT = 12379, 20250
MANAGER_PORT, SCHEDULER_PORT = 10257, 10259
"""Where they tell their metrics, as upstream."""


@dataclass(frozen=True)
class Placed:
    """A component instance: its name, the machine that it is pinned to and its own address."""

    name: str
    machine: Machine
    address: str


@dataclass(frozen=True)
class Layout:
    """Every instance of a cluster, by kind. Addresses never change over restarts."""

    members: tuple[Placed, ...]
    api_servers: tuple[Placed, ...]
    schedulers: tuple[Placed, ...]
    controller_managers: tuple[Placed, ...]
    nodes: tuple[Placed, ...]
    fleets: tuple[Placed, ...]

    @property
    def api_urls(self) -> list[str]:
        return [f"https://{api.address}:{API_PORT}" for api in self.api_servers]

    @property
    def store_endpoints(self) -> list[str]:
        """Client addresses of the store's members."""
        return [store_address(self.members, one, CLIENT_PORT) for one in self.members]

    @property
    def etcd_urls(self) -> list[str]:
        """Where the members' gateways are, if they have any."""
        members = self.members
        return [f"https://{store_address(members, one, ETCD_PORT)}" for one in members]


def layout(shape: Shape, machines: Sequence[Machine]) -> Layout:
    """On one machine every instance has a loopback address of its own; on several, their own."""
    alone = len(machines) == 1

    def place(kind: str, count: int, third: int, fourth: int) -> tuple[Placed, ...]:
        return tuple(
            Placed(
                f"{kind}-{index}",
                machine,
                f"127.{shape.network}.{third}.{fourth + index}" if alone else machine.address,
            )
            for index, machine in enumerate(spread(count, machines))
        )

    nodes = tuple(
        Placed(
            f"node-{index}",
            machine,
            f"127.{shape.network}.{index + 1}.1" if alone else machine.address,
        )
        for index, machine in enumerate(spread(shape.nodes, machines))
    )
    return Layout(
        place("store", shape.members, 0, 10),
        place("api-server", shape.api_servers, 0, 30),
        place("scheduler", shape.schedulers, 0, 50),
        place("controller-manager", shape.controller_managers * shape.groups, 0, 70),
        nodes,
        place("fleet", shape.fleets, 0, 90),
    )


def own_port(placed: Sequence[Placed], one: Placed, port: int) -> int:
    """Instances that share a machine's only address are told apart by port, ten apart."""
    sharing = [other.name for other in placed if other.address == one.address]
    return port + 10 * sharing.index(one.name)


def store_address(members: Sequence[Placed], member: Placed, port: int) -> str:
    return f"{member.address}:{own_port(members, member, port)}"
