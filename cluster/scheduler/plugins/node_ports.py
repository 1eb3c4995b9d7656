"""NodePorts: no two pods of a node may have the same host port on the same address."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from cluster.scheduler.columns import Columns, View
from cluster.scheduler.framework import FilterPlugin, Rejection, Scope
from cluster.scheduler.framework.events import ClusterEvent, events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.model.requests import Port, host_ports

ANY = "0.0.0.0"


class NodePorts(FilterPlugin):
    name = "NodePorts"
    events = events(nodes="add", pods="delete")
    scope = Scope.PODS

    def signature(self, pod: PodInfo) -> Hashable:
        return pod.ports

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        return bool(pod.ports)

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        taken = view.none()
        for port in view.ports():
            if any(_same(port, mine) for mine in pod.ports):
                taken |= view.port_users(port) > 0
        reason = "node(s) didn't have free ports for the requested pod ports"
        return [Rejection(taken, reason)]

    def helps(self, pod: PodInfo, event: ClusterEvent, columns: Columns) -> bool:
        if event.is_("pods", "delete"):
            freed = host_ports(event.obj.get("spec") or {})
            return any(_same(port, mine) for port in freed for mine in pod.ports)
        return event.is_("nodes", "add")


def _same(one: Port, other: Port) -> bool:
    """0.0.0.0 stands for every address."""
    if (one.protocol, one.number) != (other.protocol, other.number):
        return False
    return one.address == other.address or ANY in (one.address, other.address)
