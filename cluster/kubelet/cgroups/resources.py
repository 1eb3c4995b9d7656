"""From what pods and containers ask for to the limits of their control groups. Pure.

After upstream's ResourceConfigForPod and kuberuntime's generateLinuxContainerResources.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.kubelet.cgroups.limits import UNLIMITED, Limits, quota_us, shares
from cluster.kubelet.runtimes.base import Resources
from cluster.machinery import qos, quantity
from cluster.machinery.pod_amounts import Amounts, add, of_containers

Object = dict[str, Any]


def pod_path(pod: Object) -> str:
    """Guaranteed pods are beside the groups of the two other classes."""
    kind = qos.class_of(pod["spec"])
    middle = "" if kind == "Guaranteed" else f"{kind.lower()}/"
    return f"kubepods/{middle}pod{pod['metadata']['uid']}"


def amounts(texts: Any) -> Amounts:
    """cpu in milli-CPUs and memory in bytes; other resources have no groups."""
    found: Amounts = {}
    for name, text in (texts or {}).items():
        if name in ("cpu", "memory"):
            found[name] = quantity.milli(text) if name == "cpu" else quantity.value(text)
    return found


def _of(container: Object, part: str) -> Amounts:
    return amounts((container.get("resources") or {}).get(part))


def _total(pod: Object, part: str) -> Amounts:
    """Of all containers, the pod's own amounts before them, and the overhead."""
    spec = pod["spec"]
    found = of_containers(spec, lambda container: _of(container, part))
    found |= amounts((spec.get("resources") or {}).get(part))
    if part == "requests" or found:
        overhead = amounts(spec.get("overhead"))
        add(found, {n: a for n, a in overhead.items() if part == "requests" or n in found})
    return found


def _all_limit(pod: Object, name: str) -> bool:
    """Whether the pod as a whole, or every container of it, has a limit of this resource."""
    spec = pod["spec"]
    if name in amounts((spec.get("resources") or {}).get("limits")):
        return True
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return all(_of(container, "limits").get(name) for container in containers)


def pod_limits(pod: Object, pids_max: int = UNLIMITED) -> Limits:
    kind = qos.class_of(pod["spec"])
    cpu = memory = UNLIMITED
    limits = _total(pod, "limits")
    if kind != "BestEffort":
        if _all_limit(pod, "cpu"):
            cpu = quota_us(limits.get("cpu", 0))
        if _all_limit(pod, "memory"):
            memory = limits.get("memory", 0) or UNLIMITED
    asked = 0 if kind == "BestEffort" else _total(pod, "requests").get("cpu", 0)
    return Limits(
        cpu_shares=shares(asked),
        cpu_quota_us=cpu,
        memory_bytes=memory,
        pids=pids_max,
    )


def container_limits(wanted: Resources) -> Limits:
    return Limits(
        cpu_shares=shares(wanted.cpu_request_milli),
        cpu_quota_us=quota_us(wanted.cpu_limit_milli),
        memory_bytes=wanted.memory_limit_bytes or UNLIMITED,
        kill_together=True,
    )


def burstable_shares(pods: Iterable[Object]) -> int:
    """What all pods of the class ask for together."""
    burstable = [pod for pod in pods if qos.class_of(pod["spec"]) == "Burstable"]
    return shares(sum(_total(pod, "requests").get("cpu", 0) for pod in burstable))


def node_limits(allocatable: Amounts, pids_max: int = UNLIMITED) -> Limits:
    """All pods of a node together: what is left after the reservations."""
    return Limits(
        cpu_shares=shares(allocatable.get("cpu", 0)),
        memory_bytes=allocatable.get("memory", 0) or UNLIMITED,
        pids=pids_max,
    )
