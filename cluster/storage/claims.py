"""Cluster-wide unique values (cluster IPs, node ports): one store key each.

The claim is part of the same transaction as the object that holds it, so several API servers
cannot give out one value twice, and a claim never outlives or precedes its holder. The claim of an
address is the IPAddress object itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from cluster.machinery import meta, status
from cluster.machinery.status import Cause
from cluster.storage import encoding, keys, service_networks
from cluster.storage.encoding import Object
from cluster.storage.service_networks import Network
from cluster.storage.strategies.services import IP_CLAIMS, PORT_CLAIMS
from raftstore.types import Compare, Delete, Op, Put, Store

NODE_PORTS = range(30000, 32768)
RANDOM_ATTEMPTS = 8
FAMILY = "ipaddress.kubernetes.io/ip-family"
MANAGED_BY, MANAGER = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
Cidrs = Callable[[], Iterable[Object]]
"""The ServiceCIDR objects that there are."""


class Allocator:
    """Proposes free values. The transaction decides; after collisions the taken ones are read."""

    def __init__(
        self, store: Store, service_cidr: str, randomness: Random, cidrs: Cidrs = lambda: ()
    ) -> None:
        self._store, self._randomness, self._cidrs = store, randomness, cidrs
        self.network = ipaddress.ip_network(service_cidr)

    @property
    def first_address(self) -> str:
        """That of the Service `default/kubernetes`."""
        return str(self.network[1])

    @property
    def networks(self) -> Sequence[Network]:
        """Those that addresses come from now."""
        return service_networks.networks(self.network, self._cidrs())

    def propose(self, kind: str) -> str:
        """Any value of the range. 500 if there is no network to take an address from."""
        if kind == PORT_CLAIMS:
            return str(self._randomness.choice(NODE_PORTS))
        found = self.networks
        if not found:
            raise _full(kind)
        (network,) = self._randomness.choices(found, [net.num_addresses for net in found])
        size = network.num_addresses
        last = max(size - 2, 1)
        low = reserved(size) if last >= reserved(size) else min(2, last)
        return str(network[self._randomness.randint(low, last)])

    async def propose_free(self, kind: str) -> str:
        """A value that nobody holds right now; 500 when all are taken."""
        found = await self._store.range(
            kind.encode(), keys.prefix_end(kind), keys_only=True, limit=0
        )
        taken = {kv.key.decode().removeprefix(kind) for kv in found.kvs}
        free = [value for value in self._values(kind) if value not in taken]
        if not free:
            raise _full(kind)
        return self._randomness.choice(free)

    def _values(self, kind: str) -> Iterable[str]:
        if kind == PORT_CLAIMS:
            return [str(port) for port in NODE_PORTS]
        first = self.first_address
        listed = (str(address) for network in self.networks for address in network.hosts())
        return (address for address in listed if address != first)

    def out_of_range(self, claims: Mapping[str, str]) -> list[Cause]:
        """Causes for values that a client asked for and that do not exist here."""
        causes = []
        for claim, field in claims.items():
            value = claim.rpartition("/")[2]
            if claim.startswith(IP_CLAIMS) and not self._contains(value):
                shown = ", ".join(str(network) for network in self.networks)
                text = f"the provided network does not match the current range ({shown})"
                message = f'Invalid value: ["{value}"]: failed to allocate IP {value}: {text}'
                causes.append(Cause("FieldValueInvalid", message, field))
            if claim.startswith(PORT_CLAIMS) and int(value) not in NODE_PORTS:
                message = (
                    f"Invalid value: {value}: provided port is not in the valid range. "
                    "The range of valid ports is 30000-32767"
                )
                causes.append(Cause("FieldValueInvalid", message, field))
        return causes

    def _contains(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.networks)


def reserved(size: int) -> int:
    """How many low addresses are for Services that ask for one (KEP-3070), DNS among them."""
    return min(max(16, size // 16), 256)


def _full(kind: str) -> status.ApiError:
    what = "nodePort" if kind == PORT_CLAIMS else "serviceIP"
    return status.internal_error(f"failed to allocate a {what}: range is full")


def taken_cause(claim: str, field: str) -> Cause:
    """Why a value that a client asked for is refused."""
    value = claim.rpartition("/")[2]
    if claim.startswith(PORT_CLAIMS):
        message = f"Invalid value: {value}: provided port is already allocated"
    elif not claim.startswith(IP_CLAIMS):
        message = f'Invalid value: "{value}": is already in use'
    else:
        message = (
            f'Invalid value: ["{value}"]: failed to allocate IP {value}: '
            "provided IP is already allocated"
        )
    return Cause("FieldValueInvalid", message, field)


def content(claim: str, holder: str, uid: str, now_s: float) -> bytes:
    """What is stored as a claim; `holder` is the key of the object that holds it."""
    if not claim.startswith(IP_CLAIMS):
        return holder.encode()
    address = claim.removeprefix(IP_CLAIMS)
    namespace, name = holder.split("/")[-2:]
    family = f"IPv{ipaddress.ip_address(address).version}"
    return encoding.encode({
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {
            "name": address,
            "uid": uid,
            "generation": 1,
            "creationTimestamp": meta.format_time(now_s),
            "labels": {FAMILY: family, MANAGED_BY: MANAGER},
        },
        "spec": {
            "parentRef": {
                "group": "", "resource": "services", "namespace": namespace, "name": name
            }
        },
    })  # fmt: skip


def operations(
    old: Mapping[str, str], new: Mapping[str, str], stored: Callable[[str], bytes]
) -> tuple[list[Compare], list[Op]]:
    """What a transaction must compare and do so that the holder's claims become `new`.

    `stored` gives what stands in the store as a claim.
    """
    added = [claim for claim in new if claim not in old]
    dropped = [claim.encode() for claim in old if claim not in new]
    compares = [Compare(claim.encode(), "create", "=", 0) for claim in added]
    ops: list[Op] = [Put(claim.encode(), stored(claim)) for claim in added]
    return compares, ops + [Delete(claim) for claim in dropped]
