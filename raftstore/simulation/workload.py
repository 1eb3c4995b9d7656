"""Clients that read and write a few keys, watch them, and note what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

from actors.seams.randomness import Randomness
from raftstore.client import StoreClient
from raftstore.errors import Compacted, KeyNotFound, StoreError, Unavailable, UnknownOutcome
from raftstore.simulation.operations import KEYS, PREFIX, PREFIX_END, Operations
from raftstore.types import EventType, HashKv, Op, Put, Range, Txn
from raftstore.verify.history import Call
from raftstore.verify.watches import Watched

THINK_S = (0.0, 0.25)
LEASES, LEASES_END = b"lease/", b"lease0"


class Workload:
    """Histories of all clients."""

    def __init__(self, now: Callable[[], float], think_s: tuple[float, float] = THINK_S) -> None:
        self._now, self._think_s = now, think_s
        self.calls: list[Call] = []
        self.watches: list[Watched] = []
        self.open_watches: dict[int, Watched] = {}
        self.compacted: list[int] = []
        self.hashes: list[tuple[str, HashKv]] = []
        self.broken: list[str] = []
        """Errors that no promise covers."""
        self._newest = 1

    async def run(self, number: int, client: StoreClient, randomness: Randomness) -> None:
        """One client, forever."""
        operations = Operations(number, randomness)
        while True:
            await asyncio.sleep(randomness.uniform(*self._think_s))
            op = operations.next()
            stale = isinstance(op, Range) and not op.revision and randomness.random() < 0.1
            call = Call(number, op, self._now(), serializable=stale)
            self.calls.append(call)
            await self._execute(client, call)
            if call.outcome == "ok":
                self._newest = max(self._newest, call.result.revision)
                operations.heard(op, call.result)

    async def _execute(self, client: StoreClient, call: Call) -> None:
        try:
            call.result = await client.execute(call.op, serializable=call.serializable)
            call.outcome = "ok"
        except UnknownOutcome:
            call.outcome = "unknown"
        except Unavailable:
            call.outcome = "failed"
        except StoreError as error:
            call.outcome = "refused"
            if not self._may_refuse(call.op, error):
                self.broken.append(f"{call} raised {error!r}")
        call.returned_s = self._now()

    def _may_refuse(self, op: Op, error: StoreError) -> bool:
        if isinstance(error, Compacted):
            return 0 < _oldest(op) < max(self.compacted, default=0)
        keeps = isinstance(op, Put) and (op.ignore_value or op.ignore_lease)
        return isinstance(error, KeyNotFound) and keeps

    # ---- watches

    async def watch(self, number: int, client: StoreClient, randomness: Randomness) -> None:
        """Watch, end, and go on where that watch ended, from the past, or anew; forever."""
        last = 0
        while True:
            watched = self._next_watch(randomness, last)
            self.watches.append(watched)
            self.open_watches[number] = watched
            try:
                async with asyncio.timeout(randomness.uniform(5.0, 30.0)):
                    await self._follow(client, watched)
            except TimeoutError:
                last = watched.last
            except Compacted:
                last = 0

    def _next_watch(self, randomness: Randomness, last: int) -> Watched:
        keys = [(PREFIX, PREFIX_END)] * 4 + [(KEYS[0], b""), (LEASES, LEASES_END), (b"\0", b"\0")]
        key, range_end = randomness.choice(keys)
        back = randomness.randint(11, 40)
        starts = [0, max(1, self._newest - back), last + 1 if last else 0, last + 1 if last else 0]
        choices: list[tuple[EventType, ...]] = [(), (), (), ("put",), ("delete",)]
        filters = randomness.choice(choices)
        prev_kv = randomness.random() < 0.7
        start = randomness.choice(starts)
        return Watched(key, range_end, start, prev_kv, filters, self._now())

    async def _follow(self, client: StoreClient, watched: Watched) -> None:
        stream = client.watch(
            watched.key,
            watched.range_end,
            start_revision=watched.start,
            prev_kv=watched.prev_kv,
            filters=watched.filters,
        )
        async with aclosing(stream) as batches:
            async for batch in batches:
                watched.batches.append(batch)

    # ---- maintenance

    async def compact(self, client: StoreClient, randomness: Randomness) -> None:
        """Forget history under load, forever."""
        while True:
            await asyncio.sleep(randomness.uniform(2.0, 8.0))
            target = self._newest - randomness.randint(0, 30)
            if target > max(self.compacted, default=1):
                self.compacted.append(target)
                try:
                    await client.compact(target)
                except (UnknownOutcome, Unavailable, Compacted):
                    continue

    async def compare(
        self, client: StoreClient, endpoints: Sequence[str], randomness: Randomness
    ) -> None:
        """Ask members for hashes, of the same revisions, forever."""
        while True:
            await asyncio.sleep(randomness.uniform(1.0, 4.0))
            await self.hash_all(client, endpoints, self._newest)

    async def hash_all(
        self, client: StoreClient, endpoints: Sequence[str], revision: int
    ) -> list[HashKv]:
        """What those answer that can."""
        found = await asyncio.gather(*(self._hash(client, e, revision) for e in endpoints))
        return [told for told in found if told is not None]

    async def _hash(self, client: StoreClient, endpoint: str, revision: int) -> HashKv | None:
        async with client.member(endpoint, 1.0) as member:
            try:
                told = await member.hash_kv(revision)
            except StoreError:  # it is down, lags, or has compacted that
                return None
        self.hashes.append((endpoint, told))
        return told


def _oldest(op: Op) -> int:
    """The oldest revision that an operation names; 0: none."""
    if isinstance(op, Txn):
        return min(filter(None, map(_oldest, (*op.success, *op.failure))), default=0)
    return op.revision if isinstance(op, Range) else 0
