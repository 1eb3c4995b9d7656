"""Cluster-wide unique values (cluster IPs, node ports): one store key each.

The claim is part of the same transaction as the object that holds it, so several API servers
cannot give out one value twice, and a claim never outlives or precedes its holder.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from random import Random

from cluster.machinery import status
from cluster.machinery.status import Cause
from cluster.storage import keys
from cluster.storage.strategies.services import IP_CLAIMS, PORT_CLAIMS
from raftstore.types import Compare, Delete, Op, Put, Store

NODE_PORTS = range(30000, 32768)
RANDOM_ATTEMPTS = 8


class Allocator:
    """Proposes free values. The transaction decides; after collisions the taken ones are read."""

    def __init__(self, store: Store, service_cidr: str, randomness: Random) -> None:
        self._store, self._randomness = store, randomness
        self.network = ipaddress.ip_network(service_cidr)
        size = self.network.num_addresses
        self._reserved = min(max(16, size // 16), 256)
        """Low addresses are for Services that ask for one (KEP-3070), DNS among them."""

    @property
    def first_address(self) -> str:
        """That of the Service `default/kubernetes`."""
        return str(self.network[1])

    def propose(self, kind: str) -> str:
        """Any value of the range."""
        if kind == PORT_CLAIMS:
            return str(self._randomness.choice(NODE_PORTS))
        last = self.network.num_addresses - 2
        low = self._reserved if last >= self._reserved else 2
        return str(self.network[self._randomness.randint(low, last)])

    async def propose_free(self, kind: str) -> str:
        """A value that nobody holds right now; 500 when all are taken."""
        found = await self._store.range(
            kind.encode(), keys.prefix_end(kind), keys_only=True, limit=0
        )
        taken = {kv.key.decode().removeprefix(kind) for kv in found.kvs}
        free = [value for value in self._values(kind) if value not in taken]
        if not free:
            raise status.internal_error(f"failed to allocate: range {kind} is full")
        return self._randomness.choice(free)

    def _values(self, kind: str) -> Sequence[str]:
        if kind == PORT_CLAIMS:
            return [str(port) for port in NODE_PORTS]
        return [str(address) for address in list(self.network.hosts())[1:]]

    def out_of_range(self, claims: Mapping[str, str]) -> list[Cause]:
        """Causes for values that a client asked for and that do not exist here."""
        causes = []
        for claim, field in claims.items():
            value = claim.rpartition("/")[2]
            if claim.startswith(IP_CLAIMS) and not self._contains(value):
                text = f"the provided network does not match the current range ({self.network})"
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
            return ipaddress.ip_address(address) in self.network
        except ValueError:
            return False


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


def operations(
    old: Mapping[str, str], new: Mapping[str, str], holder: str
) -> tuple[list[Compare], list[Op]]:
    """What a transaction must compare and do so that the holder's claims become `new`."""
    added = [claim.encode() for claim in new if claim not in old]
    dropped = [claim.encode() for claim in old if claim not in new]
    compares = [Compare(claim, "create", "=", 0) for claim in added]
    ops: list[Op] = [Put(claim, holder.encode()) for claim in added]
    return compares, ops + [Delete(claim) for claim in dropped]
