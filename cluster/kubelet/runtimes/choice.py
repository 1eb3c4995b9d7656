"""Which runtime a kubelet has, from its config. Each is imported only where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.kubelet.cgroups.tree import Tree
from cluster.kubelet.runtimes.base import Runtime

KINDS = ("process", "cri")
LABEL = "raykube.dev/runtime"
"""Of nodes, so that a RuntimeClass can choose those that have its runtime."""
NETWORKS = ("host", "cni")


def has_own_groups(config: Mapping[str, Any]) -> bool:
    """Whether it puts containers where the kubelet says; a container manager has its own place."""
    return bool(config.get("runtime", "process") == "process")


def make(config: Mapping[str, Any], data_dir: str, seams: Seams, groups: Tree | None) -> Runtime:
    """`runtime`; for `cri` also `runtime_endpoint` and `pod_network` (host, cni).

    Raises ValueError for what there is not.
    """
    kind = config.get("runtime", "process")
    if kind == "process":
        from cluster.kubelet.runtimes.process import ProcessRuntime

        return ProcessRuntime(data_dir, groups=groups)
    if kind != "cri":
        raise ValueError(f"unknown runtime {kind!r}: there are {', '.join(KINDS)}")
    from cluster.kubelet.runtimes.cri.runtime import CriRuntime

    endpoint, network = config.get("runtime_endpoint"), config.get("pod_network", "host")
    if not endpoint:
        raise ValueError("the runtime cri needs runtime_endpoint, as unix:///run/containerd.sock")
    if network not in NETWORKS:
        raise ValueError(f"unknown pod network {network!r}: there are {', '.join(NETWORKS)}")
    return CriRuntime(endpoint, data_dir, seams, on_host=network == "host")
