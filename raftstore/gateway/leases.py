"""Service Lease."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from raftstore.errors import LeaseNotFound
from raftstore.gateway import protocol_pb2 as pb
from raftstore.gateway.calls import Calls
from raftstore.gateway.core import Asker, Core
from raftstore.types import Range
from raftstore.wire import Kind

MIN_TTL_S = 2
"""A lease asked for less gets this: what etcd grants with its default election timeout."""


class Leases:
    name = "etcdserverpb.Lease"

    def __init__(self, core: Core, calls: Calls) -> None:
        self._core, self._calls = core, calls

    def methods(self) -> Mapping[str, Any]:
        unary = self._calls.unary
        return {
            "LeaseGrant": unary(pb.LeaseGrantRequest, self.grant),
            "LeaseRevoke": unary(pb.LeaseIdRequest, self.revoke),
            "LeaseKeepAlive": self._calls.stream(pb.LeaseIdRequest, self.keep_alive),
            "LeaseTimeToLive": unary(pb.LeaseTimeToLiveRequest, self.time_to_live),
            "LeaseLeases": unary(pb.Nothing, self.list),
        }

    async def grant(self, request: Any, asker: Asker) -> Any:
        ttl_s = max(MIN_TTL_S, request.TTL)
        lease_id, ttl_s, revision = await self._core.command(
            asker, Kind.LEASE_GRANT, ttl_s, request.ID
        )
        return pb.LeaseGrantResponse(header=self._core.header(revision), ID=lease_id, TTL=ttl_s)

    async def revoke(self, request: Any, asker: Asker) -> Any:
        revision = await self._core.command(asker, Kind.LEASE_REVOKE, request.ID)
        return pb.HeaderOnly(header=self._core.header(revision))

    async def keep_alive(self, requests: AsyncIterator[Any], asker: Asker) -> AsyncIterator[Any]:
        """One answer per request, in order; a TTL of 0 says that the lease is gone."""
        async for request in requests:
            try:
                ttl_s = (await self._core.store.lease_keep_alive(request.ID)).ttl_s
            except LeaseNotFound:
                ttl_s = 0
            yield pb.LeaseKeepAliveResponse(header=self._core.header(), ID=request.ID, TTL=ttl_s)

    async def time_to_live(self, request: Any, asker: Asker) -> Any:
        lease = await self._core.store.lease_time_to_live(request.ID)
        keys = lease.keys if request.keys else ()
        for key in keys:
            await self._core.execute(asker, Range(key, count_only=True))
        return pb.LeaseTimeToLiveResponse(
            header=self._core.header(),
            ID=request.ID,
            TTL=lease.ttl_s,
            grantedTTL=lease.granted_s,
            keys=keys,
        )

    async def list(self, request: Any, asker: Asker) -> Any:
        found = await self._core.query(asker, Kind.LEASES)
        return pb.LeaseLeasesResponse(
            header=self._core.header(), leases=[pb.LeaseStatus(ID=lease) for lease in found]
        )
