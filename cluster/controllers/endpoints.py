"""Endpoints: the ready and not ready addresses behind each Service."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

from cluster.controllers import endpoint_addresses as addresses
from cluster.controllers import pods
from cluster.controllers.framework import Result, Watch
from cluster.controllers.removal import remove
from cluster.controllers.services import ServiceController, is_ending
from cluster.machinery.status import ApiError

Object = dict[str, Any]

OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000
PARTS = ("addresses", "notReadyAddresses")
MANAGED_BY = "endpoints.kubernetes.io/managed-by"


class EndpointsController(ServiceController):
    name = "endpoints"
    account = "endpoint-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch("services"), Watch("pods", self.keys_of_pod), Watch("endpoints")]

    async def reconcile(self, key: str) -> Result | None:
        service = self._services.get(key)
        current = self.informers.of("endpoints").get(key)
        if service is None:
            await self._delete(current)
        elif addresses.has_own_endpoints(service) and not pods.is_deleting(service):
            await self._write(wanted(service, self.members(service)), current)
        return None

    async def _delete(self, current: Object | None) -> None:
        """Only what this controller made: others may keep Endpoints without a Service."""
        if current is None or MANAGED_BY not in (current["metadata"].get("labels") or {}):
            return
        await remove(self.client, "endpoints", current)

    async def _write(self, new: Object, current: Object | None) -> None:
        if current is None:
            try:
                await self.client.create("endpoints", new)
            except ApiError as error:
                if not is_ending(error):
                    raise
            return
        changed = copy.deepcopy(current) | {"subsets": new["subsets"]}
        metadata = changed["metadata"]
        metadata["labels"] = new["metadata"]["labels"]
        annotations = metadata.get("annotations") or {}
        others = {name: text for name, text in annotations.items() if name != OVER_CAPACITY}
        metadata["annotations"] = {**others, **(new["metadata"].get("annotations") or {})}
        if not metadata["annotations"]:
            del metadata["annotations"]
        if {"subsets": [], **current} != changed:
            await self.client.update("endpoints", changed)


def wanted(service: Object, members: Sequence[Object]) -> Object:
    """The Endpoints object of a Service. Pure."""
    labels = {**(service["metadata"].get("labels") or {}), MANAGED_BY: "endpoint-controller"}
    if addresses.is_headless(service):
        labels[addresses.HEADLESS] = ""
    metadata = {k: service["metadata"][k] for k in ("name", "namespace")}
    every = service["spec"].get("publishNotReadyAddresses", False)
    members = [pod for pod in members if every or not pods.is_deleting(pod)]
    groups = addresses.group(service, members)
    subsets = [_subset(service, ports, group) for ports, group in sorted(groups.items())]
    found: Object = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {**metadata, "labels": labels},
        "subsets": subsets,
    }
    if truncate(subsets):
        found["metadata"]["annotations"] = {OVER_CAPACITY: "truncated"}
    return found


def truncate(subsets: list[Object]) -> bool:
    """Keep 1,000 addresses, ready ones first, of each subset its share; whether some were left
    out (upstream's truncateEndpoints). In place."""
    counts = {part: [len(subset.get(part) or ()) for subset in subsets] for part in PARTS}
    ready, waiting = (sum(counts[part]) for part in PARTS)
    if ready + waiting <= MAX_ADDRESSES:
        return False
    part, most = (PARTS[0], MAX_ADDRESSES) if ready > MAX_ADDRESSES else (
        PARTS[1], MAX_ADDRESSES - ready
    )  # fmt: skip
    left = most
    for subset, count in zip(subsets, counts[part], strict=True):
        share = min(left, math.ceil(count / sum(counts[part]) * most))
        left -= min(share, count)
        if count:
            subset[part] = subset[part][:share]
        if part == PARTS[0]:
            subset.pop(PARTS[1], None)
        if not subset.get(part):
            subset.pop(part, None)
    return True


def _subset(service: Object, ports: addresses.PortSet, members: Sequence[Object]) -> Object:
    every = service["spec"].get("publishNotReadyAddresses", False)
    ready = [_address(service, pod) for pod in members if every or pods.is_ready(pod)]
    waiting = [_address(service, pod) for pod in members if not (every or pods.is_ready(pod))]
    parts = {
        "addresses": ready,
        "notReadyAddresses": waiting,
        "ports": addresses.port_objects(ports),
    }
    return {name: value for name, value in parts.items() if value}


def _address(service: Object, pod: Object) -> Object:
    address = {"ip": pod["status"]["podIP"], "hostname": addresses.hostname(service, pod)}
    address |= {"nodeName": pods.node_name(pod), "targetRef": addresses.target_ref(pod)}
    return {name: value for name, value in address.items() if value}
