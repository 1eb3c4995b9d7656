"""Where a Service's ready endpoints are, as the slices in the watch cache say (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import resources
from cluster.storage import keys
from cluster.storage.cache import ResourceCache
from cluster.storage.encoding import Object
from cluster.storage.entry import Entry

SLICES = "discovery.k8s.io/v1/endpointslices"
SERVICE_NAME = "kubernetes.io/service-name"
Address = tuple[str, int]


def slices_of(slices: ResourceCache, namespace: str, service: str) -> Iterator[Entry]:
    prefix = keys.prefix(resources.find(SLICES)) + f"{namespace}/"
    return (e for e in slices.entries(prefix) if e.labels.get(SERVICE_NAME) == service)


def ready(found: Object, port_name: str) -> Iterator[Address]:
    """Those of one slice that serve this port; of an endpoint's addresses, all alike, the first."""
    ports = [p["port"] for p in found.get("ports") or () if (p.get("name") or "") == port_name]
    for endpoint in found.get("endpoints") or ():
        conditions: dict[str, Any] = endpoint.get("conditions") or {}
        if conditions.get("ready") is not False and endpoint.get("addresses"):
            yield from ((str(endpoint["addresses"][0]), int(p)) for p in ports if p)
