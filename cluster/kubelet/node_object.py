"""The Node object of this machine: labels, capacity, addresses, conditions. Pure."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from typing import Any

from cluster.machinery import meta

Object = dict[str, Any]

VERSION = "v1.34.0+raykube"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

_HEALTHY = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
_UNDER_PRESSURE = {
    "MemoryPressure": ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    "PIDPressure": ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}


def architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def labels(node_name: str, more: Mapping[str, str]) -> dict[str, str]:
    found = {"kubernetes.io/hostname": node_name, "kubernetes.io/os": "linux"}
    found["kubernetes.io/arch"] = architecture()
    beta = {"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": architecture()}
    return found | beta | dict(more)


def node(name: str, node_labels: Mapping[str, str], pod_cidr: str) -> Object:
    """What is created when the node is not known yet."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": dict(node_labels)},
        "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
    }


def status(
    old: Object,
    *,
    name: str,
    ip: str,
    port: int,
    capacity: Mapping[str, str],
    runtime: str,
    info: Mapping[str, str],
    now_s: float,
    allocatable: Mapping[str, str] | None = None,
    pressure: Collection[str] = (),
    problem: str = "",
) -> Object:
    """The node's status, with the transition times of the `old` Node object.

    `allocatable` is the capacity where nothing is reserved; `pressure` are the conditions that
    hold; `problem` says why the node is not ready.
    """
    return {
        "addresses": [
            {"type": "InternalIP", "address": ip},
            {"type": "Hostname", "address": name},
        ],
        "capacity": dict(capacity),
        "allocatable": dict(capacity if allocatable is None else allocatable),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": {
            "architecture": architecture(),
            "operatingSystem": "linux",
            "kernelVersion": platform.release(),
            "kubeletVersion": VERSION,
            "kubeProxyVersion": VERSION,
            "containerRuntimeVersion": runtime,
            **info,
        },
        "conditions": _conditions(old, pressure, problem, now_s),
    }


def _conditions(old: Object, pressure: Collection[str], problem: str, now_s: float) -> list[Object]:
    wanted = []
    for type_, healthy in _HEALTHY.items():
        held = type_ in pressure
        reason, message = _UNDER_PRESSURE[type_] if held else healthy
        status = "True" if held else "False"
        wanted.append({"type": type_, "status": status, "reason": reason, "message": message})
    if problem:
        ready = {"type": "Ready", "status": "False", "reason": "KubeletNotReady"}
        wanted.append(ready | {"message": problem})
    else:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        wanted.append(ready | {"message": "kubelet is posting ready status"})
    now = meta.format_time(now_s)
    for condition in wanted:
        before = meta.condition(old, condition["type"]) or {}
        same = before.get("status") == condition["status"]
        since = before.get("lastTransitionTime") if same else None
        condition |= {"lastHeartbeatTime": now, "lastTransitionTime": since or now}
    return wanted


def lease(name: str, node_uid: str, lease_s: float, now_s: float) -> Object:
    """The heartbeat in kube-node-lease."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": "kube-node-lease",
            "ownerReferences": [owner],
        },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": max(1, round(lease_s)),
            "renewTime": meta.format_micro_time(now_s),
        },
    }
