"""`MemoryStore`: the whole `Store` interface in this process, without Raft, disk or network.

For tests of what stands on the store. Revisions, transactions, watches and errors are those of
the real one, for they are the same code; leases never expire by themselves (`expire` does it).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from raftstore import wire
from raftstore.mvcc import machine, txn
from raftstore.mvcc.machine import Machine, Request
from raftstore.types import (
    Compare,
    Delete,
    DeleteResult,
    Lease,
    MemberStatus,
    Op,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    WatchBatch,
)
from raftstore.watch import WatchHub
from raftstore.wire import Kind


class MemoryStore:
    """A store that answers at once. Needs no start; `start` and `stop` are there to match."""

    def __init__(self) -> None:
        self._machine = Machine(lambda revision, events: self._hub.publish(revision, events))
        self._hub = WatchHub(lambda: self._machine.store)

    async def start(self, seams: object = None) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        serializable: bool = False,
    ) -> RangeResult:
        request = Range(key, range_end, revision, limit, keys_only, count_only)
        result: RangeResult = self._machine.read(request)
        return result

    async def put(
        self, key: bytes, value: bytes, *, lease: int = 0, prev_kv: bool = False
    ) -> PutResult:
        result: PutResult = self._write(Put(key, value, lease, prev_kv))
        return result

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult:
        result: DeleteResult = self._write(Delete(key, range_end, prev_kv))
        return result

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        request = Txn(compare, success, failure)
        read_only = txn.is_read_only(request)
        result: TxnResult = self._machine.read(request) if read_only else self._write(request)
        return result

    async def compact(self, revision: int) -> None:
        self._apply([Kind.COMPACT, revision])

    async def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
    ) -> AsyncIterator[WatchBatch]:
        news = asyncio.Event()
        watcher = self._hub.open(key, range_end, start_revision, prev_kv, news.set)
        try:
            while True:
                news.clear()
                while (batch := watcher.take()) is not None:
                    yield batch
                await news.wait()
        finally:
            watcher.close()

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        granted, ttl_s = self._apply([Kind.LEASE_GRANT, ttl_s, lease_id])
        return Lease(granted, ttl_s, ttl_s)

    async def lease_revoke(self, lease_id: int) -> None:
        self._apply([Kind.LEASE_REVOKE, lease_id])

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

    def expire(self, lease_id: int) -> None:
        """What the real store does when a lease's time is up."""
        self._apply([Kind.LEASE_REVOKE, lease_id])

    def _write(self, op: Op) -> Any:
        return wire.decode_result(op, self._apply(wire.encode_op(op)))

    def _apply(self, operation: list[Any]) -> Any:
        machine.check(operation)
        [answer] = self._machine.apply(
            wire.pack([Request(machine.NO_CLIENT, 0, 0, wire.pack(operation))])
        )
        return wire.answer(wire.unpack(answer))
