"""One store in memory, as each API server reaches it: late, cut off, or without an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.seams import Seams
from cluster.storage.strategies.leases import FENCES
from raftstore.calls import StoreCalls
from raftstore.errors import Unavailable, UnknownOutcome
from raftstore.mvcc import txn
from raftstore.testing import MemoryStore
from raftstore.types import Event, Lease, MemberStatus, Op, Range, Txn, WatchBatch

TRANSIT_S = (0.0003, 0.003)
GIVE_UP_S = 3.0

T = TypeVar("T")
Observer = Callable[[int, Sequence[Event]], None]


class ObservedStore(MemoryStore):
    """Tells `observer` of every revision, before anybody else hears of it, and `late` of the terms
    of leaders that writes named when they were over."""

    def __init__(self, observer: Observer, late: Callable[[str], None]) -> None:
        super().__init__()
        self._late = late
        publish = self._machine._on_revision

        def tell(revision: int, events: Sequence[Event]) -> None:
            observer(revision, events)
            publish(revision, events)

        self._machine._on_revision = tell

    async def execute(self, op: Op, *, serializable: bool = False) -> Any:
        over = [key for key in _named(op) if not self._machine.read(Range(key)).kvs]
        result = await super().execute(op, serializable=serializable)
        for key in over if over and result.succeeded else ():
            self._late(key.decode().removeprefix(FENCES))
        return result


def _named(op: Op) -> Iterator[bytes]:
    """The terms in which a write is made; not the one that it begins itself."""
    for compare in op.compare if isinstance(op, Txn) and op.success else ():
        begins = compare.target == "create" and compare.op == "="
        if compare.key.startswith(FENCES.encode()) and not begins:
            yield compare.key


@dataclass
class Link:
    """Between one API server and the store."""

    cut: bool = False
    loss: float = 0.0
    """Share of the calls that fail, half of them after they were carried out."""
    lag_s: float = 0.0
    """How much later what is watched arrives."""


class RemoteStore(StoreCalls):
    """The store of one process; ends with it, since all its waiting is on the process's clock."""

    def __init__(self, store: ObservedStore, seams: Seams, link: Link) -> None:
        self._store, self._seams, self._link = store, seams, link

    async def execute(self, op: Op, *, serializable: bool = False) -> Any:
        reads = isinstance(op, Range) or (isinstance(op, Txn) and txn.is_read_only(op))
        return await self._call(lambda: self._store.execute(op), changes=not reads)

    async def command(self, operation: Sequence[Any]) -> Any:
        return await self._call(lambda: self._store.command(operation), changes=True)

    async def query(self, operation: Sequence[Any], *, serializable: bool = False) -> Any:
        return await self._call(lambda: self._store.query(operation), changes=False)

    async def lease_keep_alive(self, lease_id: int) -> Lease:
        return await self._call(lambda: self._store.lease_keep_alive(lease_id), changes=False)

    async def lease_time_to_live(self, lease_id: int) -> Lease:
        return await self._call(lambda: self._store.lease_time_to_live(lease_id), changes=False)

    async def status(self) -> list[MemberStatus]:
        return await self._store.status()

    async def watch(
        self, key: bytes, range_end: bytes = b"", **options: Any
    ) -> AsyncGenerator[WatchBatch, None]:
        watched = self._store.watch(key, range_end, **options)
        async for batch in watched:
            await self._transit(self._link.lag_s)
            while self._link.cut:
                await self._transit(0.1)
            yield batch

    async def _call(self, call: Callable[[], Awaitable[T]], *, changes: bool) -> T:
        await self._transit()
        await self._maybe_lose(Unavailable("the request was lost"))
        result = await call()
        unheard = UnknownOutcome if changes else Unavailable
        await self._maybe_lose(unheard("the answer was lost"))
        await self._transit()
        return result

    async def _maybe_lose(self, error: Exception) -> None:
        if self._link.cut or self._seams.randomness.random() < self._link.loss / 2:
            await self._seams.clock.sleep(GIVE_UP_S)
            raise error

    async def _transit(self, more_s: float = 0.0) -> None:
        await self._seams.clock.sleep(more_s + self._seams.randomness.uniform(*TRANSIT_S))
