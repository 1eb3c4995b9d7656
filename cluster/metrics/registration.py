"""Makes itself known: a Service with this server's address, and the APIService that leads to it."""

from __future__ import annotations

import base64
import logging
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError
from cluster.machinery import resources
from cluster.machinery.status import ApiError
from cluster.metrics import kinds

log = logging.getLogger(__name__)

Object = dict[str, Any]

NAMESPACE, NAME = "kube-system", "metrics-server"
HOST = f"{NAME}.{NAMESPACE}.svc"
RETRY_S, AGAIN_S = 0.3, 60.0
LABELS = {"k8s-app": NAME}
STARTED = "raykube.io/started-at"


def objects(host: str, port: int, ca: bytes, started: str) -> list[tuple[str, Object]]:
    """(resource, object). `ca`: PEM of the authority of this server's certificate. `started`:
    when this server did, so that endpoints change with it and API servers look at it at once.
    """
    api_service = {
        "service": {"name": NAME, "namespace": NAMESPACE, "port": 443},
        "group": kinds.GROUP,
        "version": kinds.VERSION,
        "caBundle": base64.b64encode(ca).decode(),
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]
    labels = {**LABELS, "kubernetes.io/service-name": NAME}
    labels["endpointslice.kubernetes.io/managed-by"] = NAME
    name = f"{kinds.VERSION}.{kinds.GROUP}"
    slice_ = _object(SLICES, NAME, labels, {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })  # fmt: skip
    slice_["metadata"]["annotations"] = {STARTED: started}
    return [
        ("v1/services", _object("v1/services", NAME, LABELS, {"spec": {"ports": ports}})),
        (SLICES, slice_),
        (API_SERVICES, _object(API_SERVICES, name, LABELS, {"spec": api_service})),
    ]  # fmt: skip


SLICES = "discovery.k8s.io/v1/endpointslices"
API_SERVICES = "apiregistration.k8s.io/v1/apiservices"


def _object(resource: str, name: str, labels: dict[str, str], rest: Object) -> Object:
    found = resources.find(resource)
    metadata: Object = {"name": name, "labels": dict(labels)}
    if found.namespaced:
        metadata["namespace"] = NAMESPACE
    return {"kind": found.kind, "apiVersion": found.api_version, "metadata": metadata, **rest}


async def keep(client: Client, seams: Seams, wanted: list[tuple[str, Object]]) -> None:
    """Apply them, and again from time to time: whoever deletes one gets it back."""
    while True:
        delay_s = AGAIN_S
        for resource, obj in wanted:
            namespace = obj["metadata"].get("namespace", "")
            name = obj["metadata"]["name"]
            try:
                await client.patch(
                    resources.find(resource), name, obj, namespace, kind="apply", force=True
                )
            except (ApiError, ClientError) as error:
                log.info("%s %s is not registered yet: %s", resource, name, error)
                delay_s = RETRY_S
        await seams.clock.sleep(delay_s)
