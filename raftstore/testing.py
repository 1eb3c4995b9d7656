"""`MemoryStore`: the whole `Store` interface in this process, without Raft, disk or network.

For tests of what stands on the store. Revisions, transactions, watches and errors are those of
the real one, for they are the same code; but leases never expire.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from raftstore import wire
from raftstore.calls import StoreCalls
from raftstore.mvcc import machine, requests, txn
from raftstore.mvcc.machine import Machine, Request
from raftstore.types import EventType, Lease, MemberStatus, Op, Range, Txn, WatchBatch
from raftstore.watch import WatchHub


class MemoryStore(StoreCalls):
    """A store that answers at once. Needs no start; `start` and `stop` are there to match."""

    def __init__(self) -> None:
        self._machine = Machine(lambda revision, events: self._hub.publish(revision, events))
        self._hub = WatchHub(lambda: self._machine.store)

    async def start(self, seams: object = None) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def execute(self, op: Op, *, serializable: bool = False) -> Any:
        if isinstance(op, Range) or (isinstance(op, Txn) and txn.is_read_only(op)):
            return self._machine.read(op)
        return wire.decode_result(op, await self.command(wire.encode_op(op)))

    async def command(self, operation: Sequence[Any]) -> Any:
        requests.check(operation)
        [answer] = self._machine.apply(
            wire.pack([Request(machine.NO_CLIENT, 0, 0, wire.pack(operation))])
        )
        return wire.answer(wire.unpack(answer))

    async def query(self, operation: Sequence[Any], *, serializable: bool = False) -> Any:
        requests.check_question(operation)
        return self._machine.query(operation)

    async def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Sequence[EventType] = (),
    ) -> AsyncGenerator[WatchBatch, None]:
        news = asyncio.Event()
        watcher = self._hub.open(key, range_end, start_revision, prev_kv, news.set, filters)
        try:
            while True:
                news.clear()
                while (batch := watcher.take()) is not None:
                    yield batch
                await news.wait()
        finally:
            watcher.close()

    async def lease_keep_alive(self, lease_id: int) -> Lease:
        ttl_s = self._machine.leases.ttl_s(lease_id)
        return Lease(lease_id, ttl_s, ttl_s)

    async def lease_time_to_live(self, lease_id: int) -> Lease:
        leases = self._machine.leases
        if lease_id not in leases:
            return Lease(lease_id, -1, 0)
        ttl_s = leases.ttl_s(lease_id)
        return Lease(lease_id, ttl_s, ttl_s, tuple(leases.keys(lease_id)))

    async def status(self) -> list[MemberStatus]:
        store = self._machine.store
        return [
            MemberStatus("memory", "", "memory", 1, store.revision, 0, 0, store.size_bytes, True)
        ]
