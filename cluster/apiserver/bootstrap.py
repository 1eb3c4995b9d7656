"""What every cluster has from the start: namespaces, the Service of the API, priority classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.apiserver.context import Kept
from cluster.machinery import defaulting
from cluster.machinery.status import ApiError
from cluster.machinery.validation.policy import SYSTEM_CLASSES

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVICE = "kubernetes"
NAMESPACE = "default"
HTTPS_PORT = 443
DESCRIPTIONS = {
    "system-node-critical": "For pods of the system that must stay on their node.",
    "system-cluster-critical": "For pods of the system that must run somewhere in the cluster.",
}
LABELS = {"component": "apiserver", "provider": "kubernetes"}


async def ensure(kept: Mapping[str, Kept], address: str, target_port: int) -> None:
    """Create what is missing; several servers may do this at once."""
    for name in NAMESPACES:
        await _ensure(kept["v1/namespaces"], {"metadata": {"name": name}})
    await _ensure(kept["v1/services"], _service(address, target_port))
    for name, value in SYSTEM_CLASSES.items():
        wanted = {"metadata": {"name": name}, "value": value, "description": DESCRIPTIONS[name]}
        await _ensure(kept["scheduling.k8s.io/v1/priorityclasses"], wanted)


async def _ensure(kept: Kept, obj: dict[str, Any]) -> None:
    resource = kept.resource
    full = {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
    metadata = full["metadata"]
    try:
        await kept.registry.get(metadata.get("namespace", ""), metadata["name"])
    except ApiError as error:
        if error.reason != "NotFound":
            raise
    else:
        return
    defaulting.apply(full)
    try:
        await kept.registry.create(full)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise


def _service(address: str, target_port: int) -> dict[str, Any]:
    port = {"name": "https", "port": HTTPS_PORT, "protocol": "TCP", "targetPort": target_port}
    return {
        "metadata": {"name": SERVICE, "namespace": NAMESPACE, "labels": dict(LABELS)},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "sessionAffinity": "None",
            "ports": [port],
        },
    }
