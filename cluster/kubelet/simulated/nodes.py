"""Node objects of simulated nodes: what is registered, and what their status says. Pure.

A Node whose label `raykube.dev/fleet` names a fleet is kept alive by it, whoever made the Node.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.kubelet import node_object
from cluster.kubelet.simulated.behaviour import NodeBehaviour, draw
from cluster.machinery import meta

Object = dict[str, Any]

FLEET = "raykube.dev/fleet"
METRICS_PATH = "metrics.k8s.io/resource-metrics-path"
"""Where a metrics server finds a node's usage: nowhere, or it would dial thousands for nothing."""
TAINT = {"key": "raykube.dev/simulated", "effect": "NoSchedule"}
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
CAPACITY = {"cpu": "4", "memory": "32Gi", "pods": "110"}
POD_NETWORK = "10.0.0.0/8"
_INFO = {
    "bootID": "simulated",
    "machineID": "simulated",
    "osImage": "simulated",
    "systemUUID": "simulated",
}
_SPARE_ADDRESSES = 3


@dataclass(frozen=True)
class Model:
    """What new nodes are like. `zones` are dealt out in turn; a taint keeps pods away that do not
    tolerate it; `simulate` is the text of their annotation."""

    cpu: str = CAPACITY["cpu"]
    memory: str = CAPACITY["memory"]
    pods: int = int(CAPACITY["pods"])
    zones: Sequence[str] = ()
    labels: Sequence[tuple[str, str]] = ()
    tainted: bool = False
    annotations: Sequence[tuple[str, str]] = ()


def new_nodes(
    count: int, prefix: str, model: Model, fleets: Sequence[str], existing: Iterable[Object]
) -> Iterator[Object]:
    """`count` nodes beside the `existing` ones, under names and pod ranges that are free, dealt
    out to the fleets in turn."""
    existing = list(existing)
    taken = {node["metadata"]["name"] for node in existing}
    ranges = _free_ranges(model.pods, existing)
    number = 0
    for index in range(count):
        while (name := f"{prefix}-{number}") in taken:
            number += 1
        taken.add(name)
        zone = model.zones[index % len(model.zones)] if model.zones else ""
        yield _node(name, model, fleets[index % len(fleets)], zone, next(ranges))


def _free_ranges(pods: int, existing: Iterable[Object]) -> Iterator[str]:
    """Ranges of 256 addresses, or of as many times that as it takes. Raises ValueError once the
    pod network is used up."""
    size = 1 << max(0, (pods + _SPARE_ADDRESSES - 1).bit_length() - 8)
    cidrs = [(node.get("spec") or {}).get("podCIDR") for node in existing]
    taken = {block for cidr in cidrs if cidr for block in _blocks(cidr)}
    whole = _blocks(POD_NETWORK)
    for first in range(whole.start, whole.stop, size):
        if taken.isdisjoint(range(first, first + size)):
            yield f"{ipaddress.ip_address(first << 8)}/{24 - (size.bit_length() - 1)}"
    raise ValueError(f"no room for more nodes with {pods} pods each in {POD_NETWORK}")


def _blocks(cidr: str) -> range:
    """The numbers of the ranges of 256 addresses that it touches."""
    network = ipaddress.ip_network(cidr)
    return range(int(network[0]) >> 8, (int(network[-1]) >> 8) + 1)


def _node(name: str, model: Model, fleet: str, zone: str, pod_cidr: str) -> Object:
    where = {ZONE: zone, REGION: "simulated"} if zone else {}
    labels = node_object.labels(name, {FLEET: fleet, **where, **dict(model.labels)})
    node = node_object.node(name, labels, pod_cidr)
    capacity = {"cpu": model.cpu, "memory": model.memory, "pods": str(model.pods)}
    node["status"] = {"capacity": capacity, "allocatable": capacity}
    if model.tainted:
        node["spec"]["taints"] = [TAINT]
    node["metadata"]["annotations"] = {METRICS_PATH: "", **dict(model.annotations)}
    return node


def boots_until_s(node: Object, own: NodeBehaviour) -> float:
    """When it becomes Ready, by the time of its creation."""
    created_s = meta.parse_time(node["metadata"]["creationTimestamp"])
    return created_s + own.boot.at(draw("", "boot", node["metadata"]["name"]))


def status(
    node: Object, own: NodeBehaviour, problem: str, ip: str, port: int, now_s: float
) -> Object:
    """What its kubelet reports. `problem`: why it is not Ready, or ""."""
    given = node.get("status") or {}
    capacity = given.get("capacity") or CAPACITY
    reported = node_object.status(
        node,
        name=node["metadata"]["name"],
        ip=ip,
        port=port,
        capacity=capacity,
        runtime="simulated://1",
        info=_INFO,
        now_s=now_s,
    )
    reported["allocatable"] = given.get("allocatable") or capacity
    said = dict(own.conditions)
    if problem:
        said["Ready"] = "False"
    for condition in reported["conditions"]:
        _say(node, condition, said.get(condition["type"]), problem)
    return reported


def _say(node: Object, condition: Object, value: str | None, problem: str) -> None:
    if value is None or value == condition["status"]:
        return
    old = meta.condition(node, condition["type"]) or {}
    since = condition["lastHeartbeatTime"]
    if old.get("status") == value:
        since = old.get("lastTransitionTime") or since
    condition |= {"status": value, "lastTransitionTime": since}
    is_ready = condition["type"] == "Ready"
    condition["reason"] = "KubeletNotReady" if is_ready else "Simulated"
    condition["message"] = (problem if is_ready else "") or "as its annotation says"


def differs(node: Object, reported: Object) -> bool:
    """Whether the API shows other conditions, or another place to reach the kubelet at."""
    shown = node.get("status") or {}
    place = ("addresses", "daemonEndpoints")
    return any(shown.get(key) != reported[key] for key in place) or any(
        not meta.condition_is(node, condition["type"], condition["status"])
        for condition in reported["conditions"]
    )
