"""The store as one user may see it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from raftstore.calls import StoreCalls
from raftstore.gateway.core import Asker, Core
from raftstore.types import EventType, Lease, MemberStatus, Op, Range, WatchBatch


class UserView(StoreCalls):
    """A `Store` each of whose operations needs the user's permission."""

    def __init__(self, core: Core, asker: Asker) -> None:
        self._core, self._asker = core, asker

    async def execute(self, op: Op, *, serializable: bool = False) -> Any:
        return await self._core.execute(self._asker, op, serializable)

    async def command(self, operation: Sequence[Any]) -> Any:
        return await self._core.command(self._asker, *operation)

    async def query(self, operation: Sequence[Any], *, serializable: bool = False) -> Any:
        return await self._core.query(self._asker, *operation)

    async def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Sequence[EventType] = (),
    ) -> AsyncGenerator[WatchBatch, None]:
        await self.execute(Range(key, range_end, count_only=True))
        batches = self._core.store.watch(
            key, range_end, start_revision=start_revision, prev_kv=prev_kv, filters=filters
        )
        async for batch in batches:
            yield batch

    async def lease_keep_alive(self, lease_id: int) -> Lease:
        return await self._core.store.lease_keep_alive(lease_id)

    async def lease_time_to_live(self, lease_id: int) -> Lease:
        return await self._core.store.lease_time_to_live(lease_id)

    async def status(self) -> list[MemberStatus]:
        return await self._core.store.status()
