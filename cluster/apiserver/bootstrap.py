"""What every cluster has from the start: namespaces, the Service of the API, priority classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.apiserver.context import Kept
from cluster.machinery import defaulting, meta
from cluster.machinery.status import ApiError
from cluster.machinery.validation.policy import SYSTEM_CLASSES
from cluster.storage.service_networks import DEFAULT, READY

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVICE = "kubernetes"
NAMESPACE = "default"
HTTPS_PORT = 443
DESCRIPTIONS = {
    "system-node-critical": "For pods of the system that must stay on their node.",
    "system-cluster-critical": "For pods of the system that must run somewhere in the cluster.",
}
LABELS = {"component": "apiserver", "provider": "kubernetes"}


async def ensure(kept: Mapping[str, Kept], address: str, target_port: int, cidr: str) -> None:
    """Create what is missing; several servers may do this at once. `cidr`: of all Services."""
    for name in NAMESPACES:
        await _ensure(kept["v1/namespaces"], {"metadata": {"name": name}})
    await _ensure_network(kept["networking.k8s.io/v1/servicecidrs"], cidr)
    await _ensure(kept["v1/services"], _service(address, target_port))
    for name, value in SYSTEM_CLASSES.items():
        wanted = {"metadata": {"name": name}, "value": value, "description": DESCRIPTIONS[name]}
        await _ensure(kept["scheduling.k8s.io/v1/priorityclasses"], wanted)


async def _ensure_network(kept: Kept, cidr: str) -> None:
    """Ready from the start: the Service of the API has an address before any controller runs."""
    await _ensure(kept, {"metadata": {"name": DEFAULT}, "spec": {"cidrs": [cidr]}})

    async def ready(obj: dict[str, Any]) -> dict[str, Any]:
        if meta.condition(obj, READY) is None:
            text = "Kubernetes default Service CIDR is ready"
            condition = {"type": READY, "status": "True", "reason": "", "message": text}
            meta.set_condition(obj, condition, kept.registry.now_s())
        return obj

    await kept.registry.update("", DEFAULT, ready, subresource="status")


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
