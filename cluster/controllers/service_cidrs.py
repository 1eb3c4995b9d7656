"""ServiceCIDRs: ready when they are there, and kept until no Service has an address of theirs."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers.framework import Controller, Result, Watch
from cluster.machinery import meta

Object = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CIDRS = "servicecidrs.networking.k8s.io"
ADDRESSES = "ipaddresses.networking.k8s.io"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
GRACE_S = 10.0
"""How long API servers may still give out addresses of one that is being deleted, as upstream."""
STILL_USED = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new "
    "ServiceCIDR"
)


class ServiceCidrController(Controller):
    name = "service-cidr"
    account = "service-cidrs-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch(CIDRS, self._overlapping), Watch(ADDRESSES, self._around)]

    def _overlapping(self, cidr: Object) -> Iterable[str]:
        """Itself, and those whose addresses it may keep, or no longer keeps."""
        mine = networks(cidr)
        for other in self.informers.of(CIDRS).list():
            if any(_overlap(net, own) for net in networks(other) for own in mine):
                yield meta.key(other)
        yield meta.key(cidr)

    def _around(self, address: Object) -> Iterable[str]:
        return [
            meta.key(cidr)
            for cidr in self.informers.of(CIDRS).list()
            if within(address, networks(cidr))
        ]

    async def reconcile(self, key: str) -> Result | None:
        cidr = self.informers.of(CIDRS).get(key)
        if cidr is None:
            return None
        if cidr["metadata"].get("deletionTimestamp"):
            return await self._release(cidr)
        if FINALIZER not in meta.finalizers(cidr):
            finalizers = [*(cidr["metadata"].get("finalizers") or ()), FINALIZER]
            await self._patch(cidr, {"metadata": {"finalizers": finalizers}})
            return None
        await self._tell(cidr, "True", "", "Kubernetes Service CIDR is ready")
        return None

    async def _release(self, cidr: Object) -> Result | None:
        if FINALIZER not in meta.finalizers(cidr):
            return None
        others = [c for c in self.informers.of(CIDRS).list() if meta.key(c) != meta.key(cidr)]
        addresses = self.informers.of(ADDRESSES).list()
        if orphans(cidr, others, addresses):
            await self._tell(cidr, "False", "Terminating", STILL_USED)
            return None
        begun_s = meta.parse_time(cidr["metadata"]["deletionTimestamp"])
        left_s = begun_s + GRACE_S - self.clock.wall()
        if left_s > 0:
            return Result(left_s)
        finalizers = [f for f in cidr["metadata"]["finalizers"] if f != FINALIZER]
        await self._patch(cidr, {"metadata": {"finalizers": finalizers}})
        return None

    async def _patch(self, cidr: Object, patch: Object) -> None:
        version = {"resourceVersion": cidr["metadata"]["resourceVersion"]}
        patch["metadata"] |= version
        await self.client.patch(CIDRS, cidr["metadata"]["name"], patch)

    async def _tell(self, cidr: Object, status: str, reason: str, message: str) -> None:
        changed = copy.deepcopy(cidr)
        condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
        meta.set_condition(changed, condition, self.clock.wall())
        if changed != cidr:
            await self.client.update(CIDRS, changed, subresource="status")


def networks(cidr: Object) -> list[Network]:
    return [ipaddress.ip_network(text, strict=False) for text in cidr["spec"].get("cidrs") or ()]


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def within(address: Object, found: Iterable[Network]) -> bool:
    """Whether an IPAddress object is of one of the networks."""
    value = ipaddress.ip_address(address["metadata"]["name"])
    return any(value in network for network in found)


def orphans(cidr: Object, others: Sequence[Object], addresses: Sequence[Object]) -> list[Object]:
    """The addresses that no other network would have, if this one were gone (pure)."""
    staying = [c for c in others if not c["metadata"].get("deletionTimestamp")]
    kept = [network for other in staying for network in networks(other)]
    mine = [address for address in addresses if within(address, networks(cidr))]
    return [address for address in mine if not within(address, kept)]
