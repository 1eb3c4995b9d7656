"""What one object adds to the usage of a quota (upstream's evaluators)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.machinery import quantity
from cluster.machinery.pod_amounts import Amounts
from cluster.machinery.quota import pods
from cluster.machinery.resources import Resource

Object = dict[str, Any]
ONE = quantity.NANO
BY_OWN_NAME = frozenset(
    {
        "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers",
        "resourcequotas", "secrets", "services",
    }
)  # fmt: skip
NATIVE = frozenset({"cpu", "memory", "ephemeral-storage"})
FINISHED = ("Succeeded", "Failed")
REQUIRED = frozenset(
    {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
)
"""What a pod must say if a quota counts it."""


def of(resource: Resource, obj: Object) -> Amounts:
    """Everything that the object counts for."""
    found = {f"count/{resource.group_resource}": ONE}
    if resource.group:
        return found
    if resource.plural == "pods":
        return found | _pod(obj)
    if resource.plural in BY_OWN_NAME:
        found[resource.plural] = ONE
    if resource.plural == "services":
        found |= _service(obj)
    if resource.plural == "persistentvolumeclaims":
        found |= _claim(obj)
    return found


def _pod(pod: Object) -> Amounts:
    """A finished pod, and one whose grace is over, count as objects only."""
    if (pod.get("status") or {}).get("phase") in FINISHED:
        return {}
    spec = pod.get("spec") or {}
    found = {"pods": ONE}
    for name, amount in pods.amounts(spec, "requests").items():
        if name in NATIVE or name.startswith("hugepages-"):
            found[name] = amount
        found[f"requests.{name}"] = amount
    for name, amount in pods.amounts(spec, "limits").items():
        if name in NATIVE:
            found[f"limits.{name}"] = amount
    return found


def _service(service: Object) -> Amounts:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or ()
    node_ports = sum(1 for port in ports if port.get("nodePort"))
    balanced = spec.get("type") == "LoadBalancer"
    if balanced and spec.get("allocateLoadBalancerNodePorts") is not False:
        node_ports = len(ports)
    if spec.get("type") == "NodePort":
        node_ports = len(ports)
    return {"services.nodeports": node_ports * ONE, "services.loadbalancers": balanced * ONE}


def _claim(claim: Object) -> Amounts:
    spec = claim.get("spec") or {}
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    size = 0 if asked is None else quantity.parse(asked)
    found = {"requests.storage": size}
    if spec.get("storageClassName"):
        prefix = f"{spec['storageClassName']}.storageclass.storage.k8s.io/"
        found |= {f"{prefix}requests.storage": size, f"{prefix}persistentvolumeclaims": ONE}
    return found


def unspecified(pod: Object, hard: Iterable[str]) -> dict[str, list[str]]:
    """What a quota on these amounts demands that each container says, and who does not."""
    missing: dict[str, list[str]] = {}
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    for name in sorted(REQUIRED.intersection(hard)):
        part, _, amount = name.rpartition(".")
        which: pods.Part = "limits" if part == "limits" else "requests"
        if amount in pods.of(spec, which):
            continue
        for container in containers:
            if amount not in pods.of(container, which):
                missing.setdefault(name, []).append(container["name"])
    return missing
