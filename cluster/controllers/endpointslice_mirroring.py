"""EndpointSlice mirroring: Endpoints that somebody keeps by hand are shown as EndpointSlices too.

For Services without a selector; one slice per subset and address family, the first 1,000
addresses of each subset, as upstream.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from cluster.controllers import endpoint_slices as slices
from cluster.controllers.endpoint_slices import MANAGED_BY, SERVICE_NAME, SLICES
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta

Object = dict[str, Any]

MANAGER = "endpointslicemirroring-controller.k8s.io"
_keys_of_slice = slices.keys_of_slice(MANAGER)
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MAX_PER_SUBSET = 1000


class EndpointSliceMirroring(Controller):
    """Keys are those of the Endpoints, which have their Service's name."""

    name = "endpointslice-mirroring"
    account = "endpointslicemirroring-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._endpoints = self.informers.of("endpoints")
        self._services = self.informers.of("services")
        self._slices = self.informers.indexed(SLICES, "mirrored", _keys_of_slice)

    def watches(self) -> Sequence[Watch]:
        return [Watch("endpoints"), Watch("services"), Watch(SLICES, _keys_of_slice)]

    async def reconcile(self, key: str) -> Result | None:
        endpoints, service = self._endpoints.get(key), self._services.get(key)
        wanted = [] if endpoints is None or service is None else mirrored(endpoints, service)
        await slices.replace(self.client, wanted, self._slices.by_index("mirrored", key))
        return None


def mirrored(endpoints: Object, service: Object) -> list[Object]:
    """The slices of these Endpoints; none if they are not to be mirrored (pure)."""
    labels = endpoints["metadata"].get("labels") or {}
    annotations = endpoints["metadata"].get("annotations") or {}
    skipped = labels.get(SKIP_MIRROR) == "true" or LEADER in annotations
    going = any(obj["metadata"].get("deletionTimestamp") for obj in (endpoints, service))
    if skipped or going or (service.get("spec") or {}).get("selector"):
        return []
    by_name: dict[str, Object] = {}
    for subset in endpoints.get("subsets") or ():
        for family in ("IPv4", "IPv6"):
            found = _endpoints_of(subset, family)
            if found:
                made = _slice(endpoints, subset.get("ports") or [], family, found)
                same_ports = by_name.setdefault(made["metadata"]["name"], made)
                if same_ports is not made:
                    same_ports["endpoints"] += found
    return list(by_name.values())


def _endpoints_of(subset: Object, family: str) -> list[Object]:
    """Ready ones first, so that they are the ones that stay within the limit."""
    both = [(each, True) for each in subset.get("addresses") or ()]
    both += [(each, False) for each in subset.get("notReadyAddresses") or ()]
    chosen = [pair for pair in both[:MAX_PER_SUBSET] if _family(pair[0]["ip"]) == family]
    return [_endpoint(address, ready) for address, ready in chosen]


def _family(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"


def _endpoint(address: Object, ready: bool) -> Object:
    found = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    kept = {k: address[k] for k in ("hostname", "nodeName", "targetRef") if address.get(k)}
    return found | kept


def _slice(endpoints: Object, ports: list[Object], family: str, found: list[Object]) -> Object:
    metadata = endpoints["metadata"]
    text = f"{family} {sorted(map(repr, map(_port, ports)))}"
    labels = {**(metadata.get("labels") or {})}
    labels |= {SERVICE_NAME: metadata["name"], MANAGED_BY: MANAGER}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": slices.name(endpoints, text),
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [meta.owner_reference(endpoints)],
        },
        "addressType": family,
        "endpoints": found,
        "ports": [_port(port) for port in ports],
    }


def _port(port: Object) -> Object:
    known = {k: port[k] for k in ("port", "appProtocol") if port.get(k)}
    return {"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), **known}
