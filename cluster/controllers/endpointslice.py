"""EndpointSlices: the endpoints behind each Service with their conditions, in slices of 100."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.controllers import endpoint_addresses as addresses
from cluster.controllers import endpoint_slices as slices
from cluster.controllers import pods
from cluster.controllers.endpoint_slices import MANAGED_BY, SERVICE_NAME, SLICES
from cluster.controllers.framework import Context, Result, Watch
from cluster.controllers.services import ServiceController
from cluster.machinery import meta

Object = dict[str, Any]

MANAGER = "endpointslice-controller.k8s.io"
_keys_of_slice = slices.keys_of_slice(MANAGER)
MAX_ENDPOINTS = 100


class EndpointSliceController(ServiceController):
    name = "endpointslice"
    account = "endpointslice-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._slices = self.informers.indexed(SLICES, "service", _keys_of_slice)

    def watches(self) -> Sequence[Watch]:
        return [Watch("services"), Watch("pods", self.keys_of_pod), Watch(SLICES, _keys_of_slice)]

    async def reconcile(self, key: str) -> Result | None:
        service = self._services.get(key)
        current = {s["metadata"]["name"]: s for s in self._slices.by_index("service", key)}
        if service is None or pods.is_deleting(service):
            new: list[Object] = []
        elif addresses.has_own_endpoints(service):
            new = wanted(service, self.members(service), current)
        else:
            return None
        await slices.replace(self.client, new, current.values())
        return None


def wanted(
    service: Object, members: Sequence[Object], current: Mapping[str, Object]
) -> list[Object]:
    """The slices of a Service; endpoints stay in the slice that they are in. Pure.

    Names depend on ports and position only, so a stale cache cannot lead to a second slice
    with the same content. A Service without any endpoint keeps one empty slice.
    """
    groups = addresses.group(service, members) or {(): []}
    result = []
    for ports, group in sorted(groups.items()):
        for position, chunk in enumerate(_chunks(service, ports, group, current)):
            result.append(_slice(service, ports, position, chunk))
    return result


def _chunks(
    service: Object,
    ports: addresses.PortSet,
    group: Sequence[Object],
    current: Mapping[str, Object],
) -> list[list[Object]]:
    waiting = {pod["metadata"]["uid"]: pod for pod in group}
    chunks: list[list[Object]] = [[] for _ in range(max(1, -(-len(group) // MAX_ENDPOINTS)))]
    for position, chunk in enumerate(chunks):
        slice_ = current.get(_name(service, ports, position)) or {}
        for endpoint in slice_.get("endpoints") or ():
            pod = waiting.pop((endpoint.get("targetRef") or {}).get("uid", ""), None)
            chunk += [pod] if pod else []
    for pod in waiting.values():
        next(chunk for chunk in chunks if len(chunk) < MAX_ENDPOINTS).append(pod)
    return chunks


def _name(service: Object, ports: addresses.PortSet, position: int) -> str:
    return slices.name(service, f"{ports} {position}")


def _slice(
    service: Object, ports: addresses.PortSet, position: int, members: Sequence[Object]
) -> Object:
    labels = {**(service["metadata"].get("labels") or {})}
    labels |= {SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}
    if addresses.is_headless(service):
        labels[addresses.HEADLESS] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": _name(service, ports, position),
            "generateName": f"{service['metadata']['name']}-",
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [meta.owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(service, pod) for pod in members],
        "ports": [{"name": "", **port} for port in addresses.port_objects(ports)],
    }


def _endpoint(service: Object, pod: Object) -> Object:
    serving, terminating = pods.is_ready(pod), pods.is_deleting(pod)
    every = bool(service["spec"].get("publishNotReadyAddresses", False))
    endpoint = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": every or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "hostname": addresses.hostname(service, pod),
        "nodeName": pods.node_name(pod),
        "targetRef": addresses.target_ref(pod),
    }
    return {name: value for name, value in endpoint.items() if value}
