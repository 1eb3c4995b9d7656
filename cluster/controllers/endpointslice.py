"""EndpointSlices: the endpoints behind each Service with their conditions, in slices of 100."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.controllers import endpoint_addresses as addresses
from cluster.controllers import pods
from cluster.controllers.framework import Context, Result, Watch
from cluster.controllers.services import ServiceController, is_ending
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

SLICES = "endpointslices.discovery.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
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
        for item in new:
            await self._write(item, current.pop(item["metadata"]["name"], None))
        for item in current.values():
            await self._delete(item)
        return None

    async def _write(self, new: Object, current: Object | None) -> None:
        if current is None:
            try:
                await self.client.create(SLICES, new)
            except ApiError as error:
                if not is_ending(error):
                    raise
            return
        labels = current["metadata"].get("labels")
        same = labels == new["metadata"]["labels"] and _content(current) == _content(new)
        if not same:
            changed = copy.deepcopy(current) | _content(new)
            changed["metadata"]["labels"] = new["metadata"]["labels"]
            await self.client.update(SLICES, changed)

    async def _delete(self, item: Object) -> None:
        metadata = item["metadata"]
        try:
            await self.client.delete(
                SLICES, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except ApiError as error:
            if error.code != 404:
                raise


def _keys_of_slice(item: Object) -> Iterable[str]:
    labels = item["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return []
    return [f"{meta.namespace(item)}/{labels[SERVICE_NAME]}"]


def _content(item: Object) -> Object:
    return {"endpoints": item.get("endpoints") or [], "ports": item.get("ports") or []}


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
    text = f"{service['metadata']['uid']} {ports} {position}"
    digest = hashlib.sha256(text.encode()).digest()
    suffix = "".join("bcdfghjklmnpqrstvwxz2456789"[byte % 27] for byte in digest[:5])
    return f"{service['metadata']['name'][:240]}-{suffix}"


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
