"""Which runtime a kubelet has, from its config. Each is imported only where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.kubelet.cgroups.tree import Tree
from cluster.kubelet.runtimes.base import Runtime

KINDS = ("process", "cri", "docker")
LABEL = "raykube.dev/runtime"
"""Of nodes, so that a RuntimeClass can choose those that have its runtime."""
NETWORKS = {"cri": ("host", "cni"), "docker": ("host",)}


def has_own_groups(config: Mapping[str, Any]) -> bool:
    """Whether it puts containers where the kubelet says; a container manager has its own place."""
    return bool(config.get("runtime", "process") == "process")


def make(config: Mapping[str, Any], data_dir: str, seams: Seams, groups: Tree | None) -> Runtime:
    """`runtime`; for `cri` and `docker` also `runtime_endpoint` and `pod_network` (host; cni for
    cri), for `docker` `sandbox_image`: what holds the namespaces of pods.

    Raises ValueError for what there is not.
    """
    kind = config.get("runtime", "process")
    if kind == "process":
        from cluster.kubelet.images import local
        from cluster.kubelet.runtimes.process import ProcessRuntime

        images = local.from_config(config, data_dir, seams)
        return ProcessRuntime(data_dir, groups=groups, images=images)
    if kind not in KINDS:
        raise ValueError(f"unknown runtime {kind!r}: there are {', '.join(KINDS)}")
    endpoint, network = config.get("runtime_endpoint"), config.get("pod_network", "host")
    if not endpoint:
        raise ValueError(f"the runtime {kind} needs runtime_endpoint, as unix:///run/{kind}.sock")
    if network not in NETWORKS[kind]:
        there = ", ".join(NETWORKS[kind])
        raise ValueError(f"unknown pod network {network!r}: the runtime {kind} has {there}")
    if kind == "docker":
        from cluster.kubelet.runtimes.docker.runtime import SANDBOX_IMAGE, DockerRuntime

        image = config.get("sandbox_image") or SANDBOX_IMAGE
        return DockerRuntime(endpoint, data_dir, seams, sandbox_image=image)
    from cluster.kubelet.runtimes.cri.runtime import CriRuntime

    return CriRuntime(endpoint, data_dir, seams, on_host=network == "host")
