"""Node IPAM: each node gets a part of each of the cluster's networks for its pods.

Off unless `config["node_ipam"]` says which networks: `{cluster_cidrs, service_cidrs, mask_sizes}`,
the last by IP version ({"4": 24, "6": 64} unless given), as upstream's --cluster-cidr,
--service-cluster-ip-range and --node-cidr-mask-size-ipv4.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.controllers.cidr_set import CidrSet, Network
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta

Object = dict[str, Any]
MASKS = {"4": 24, "6": 64}
RETRY_S = 30.0


class NodeIpamController(Controller):
    """What a node has already (of another controller, or its kubelet's own) is respected."""

    name = "node-ipam"
    account = "node-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = sets(context.config.get("node_ipam") or {})
        self._held: dict[str, list[Network]] = {}
        self._began = False

    def watches(self) -> Sequence[Watch]:
        return [Watch("nodes")]

    async def reconcile(self, key: str) -> Result | None:
        if not self._began:  # nothing is given out before everything taken is known
            self._began = True
            for known in self.informers.of("nodes").list():
                self._occupy(meta.key(known), cidrs_of(known))
        node = self.informers.of("nodes").get(key)
        if node is None:
            self._release(key)
            self._try_others()
        elif cidrs_of(node):
            self._occupy(key, cidrs_of(node))
        elif not node["metadata"].get("deletionTimestamp"):
            return await self._assign(key, node)
        return None

    def _occupy(self, key: str, found: Sequence[Network]) -> None:
        if self._held.get(key) == list(found):
            return
        self._release(key)
        if found:
            self._held[key] = list(found)
            for each in self._sets:
                for network in found:
                    each.occupy(network)

    def _try_others(self) -> None:
        """Those that found nothing left."""
        for node in self.informers.of("nodes").list():
            if not cidrs_of(node):
                self.queue.add(meta.key(node))

    def _release(self, key: str) -> None:
        for network in self._held.pop(key, ()):
            for each in self._sets:
                each.release(network)

    async def _assign(self, key: str, node: Object) -> Result | None:
        found = [each.allocate() for each in self._sets]
        given = [network for network in found if network is not None]
        for each, network in zip(self._sets, found, strict=True):
            if network is not None:
                each.release(network)
        if len(given) < len(found):
            self._tell(node, "CIDRNotAvailable")
            return Result(RETRY_S)
        self._occupy(key, given)
        texts = [str(network) for network in given]
        patch = {
            "metadata": {"uid": node["metadata"]["uid"]},
            "spec": {"podCIDR": texts[0], "podCIDRs": texts},
        }
        try:
            await self.client.patch("nodes", key, patch)
        except Exception:
            self._tell(node, "CIDRAssignmentFailed")
            raise  # what was written perhaps stays taken: the node's next version says
        return None

    def _tell(self, node: Object, reason: str) -> None:
        name, uid = node["metadata"]["name"], node["metadata"]["uid"]
        reference = {"kind": "Node", "apiVersion": "v1", "name": name, "uid": uid}
        message = f"Node {name} status is now: {reason}"
        self.events.event(reference, "Normal", reason, message)


def cidrs_of(node: Object) -> list[Network]:
    spec = node.get("spec") or {}
    texts = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def sets(config: Mapping[str, Any]) -> list[CidrSet]:
    """Raises ValueError for networks that cannot be divided so, or two of one IP version."""
    masks = {**MASKS, **{str(k): int(v) for k, v in (config.get("mask_sizes") or {}).items()}}
    networks = [ipaddress.ip_network(text) for text in config.get("cluster_cidrs") or ()]
    if len({network.version for network in networks}) < len(networks):
        raise ValueError("cluster_cidrs: one network of each IP version at most")
    found = [CidrSet(network, masks[str(network.version)]) for network in networks]
    for text in config.get("service_cidrs") or ():
        for each in found:
            each.occupy(ipaddress.ip_network(text))
    return found
