"""Which API servers live: each holds a key under a store lease, and names all of them in the
Endpoints and EndpointSlice of the Service `default/kubernetes`.

A server that dies stops renewing its lease, its key goes, and the others drop its address.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from actors.seams import Seams
from cluster.apiserver.bootstrap import NAMESPACE, SERVICE
from cluster.apiserver.context import Kept
from cluster.machinery import defaulting
from cluster.machinery.status import ApiError
from cluster.storage import encoding, keys
from raftstore.errors import LeaseNotFound
from raftstore.types import Store

log = logging.getLogger(__name__)

LEASE_S = 10
REFRESH_S = 3.0
Address = tuple[str, int]
"""(IP, port)"""


class Membership:
    """Call `refresh` every REFRESH_S, and `leave` before stopping."""

    def __init__(self, store: Store, seams: Seams, kept: Mapping[str, Kept], own: Address) -> None:
        self._store, self._seams, self._kept, self._own = store, seams, kept, own
        self._lease_id = 0

    async def refresh(self) -> None:
        """Renew this server's own key, then make the endpoints say who is there."""
        await self._renew()
        await self._publish(await self._live())

    async def _renew(self) -> None:
        if self._lease_id:
            try:
                await self._store.lease_keep_alive(self._lease_id)
                return
            except LeaseNotFound:
                log.warning("the lease of this API server ran out: taking a new one")
        lease = await self._store.lease_grant(LEASE_S)
        await self._store.put(self._key().encode(), b"", lease=lease.id)
        self._lease_id = lease.id

    def _key(self) -> str:
        return f"{keys.ENDPOINT_LEASES}{self._own[0]}:{self._own[1]}"

    async def leave(self) -> None:
        """Drop out at once instead of when the lease ends."""
        if self._lease_id:
            lease_id, self._lease_id = self._lease_id, 0
            await self._store.lease_revoke(lease_id)
            await self._publish(await self._live())

    async def _live(self) -> list[Address]:
        prefix = keys.ENDPOINT_LEASES
        found = await self._store.range(prefix.encode(), keys.prefix_end(prefix), keys_only=True)
        names = [kv.key.decode().removeprefix(prefix) for kv in found.kvs]
        return [(host, int(port)) for host, _, port in (n.rpartition(":") for n in names)]

    async def _publish(self, live: Sequence[Address]) -> None:
        await _apply(self._kept["v1/endpoints"], endpoints(live))
        await _apply(self._kept["discovery.k8s.io/v1/endpointslices"], slice_of(live))


async def _apply(kept: Kept, wanted: dict[str, Any]) -> None:
    """Create the object, or replace all but its metadata."""
    defaulting.apply(wanted)

    async def change(old: dict[str, Any]) -> dict[str, Any]:
        new = {**encoding.copied(wanted), "metadata": old["metadata"]}
        new["metadata"].setdefault("labels", {}).update(wanted["metadata"]["labels"])
        return new

    try:
        await kept.registry.update(NAMESPACE, SERVICE, change)
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        await _create(kept, wanted)


async def _create(kept: Kept, wanted: dict[str, Any]) -> None:
    try:
        await kept.registry.create(encoding.copied(wanted))
    except ApiError as error:
        if error.reason != "AlreadyExists":  # another server was quicker: next time
            raise


def endpoints(live: Sequence[Address]) -> dict[str, Any]:
    """One subset a port, as in upstream's lease endpoint reconciler."""
    subsets = [
        {
            "addresses": [{"ip": host} for host, p in sorted(live) if p == port],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        for port in sorted({port for _, port in live})
    ]
    metadata = {
        "name": SERVICE,
        "namespace": NAMESPACE,
        "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
    }
    return {"kind": "Endpoints", "apiVersion": "v1", "metadata": metadata, "subsets": subsets}


def slice_of(live: Sequence[Address]) -> dict[str, Any]:
    """A slice has one list of ports, so it names the servers on the most usual one."""
    ports = [port for _, port in live]
    port = max(sorted(set(ports)), key=ports.count) if ports else 0
    hosts = sorted(host for host, p in live if p == port)
    metadata = {
        "name": SERVICE,
        "namespace": NAMESPACE,
        "labels": {"kubernetes.io/service-name": SERVICE},
    }
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": [{"addresses": [h], "conditions": {"ready": True}} for h in hosts],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}] if ports else [],
    }
