"""Clients that read and write a few keys, watch all of them, and note what they were told."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

from actors.seams.randomness import Randomness
from raftstore.client import StoreClient
from raftstore.errors import Compacted, StoreError, Unavailable, UnknownOutcome
from raftstore.types import Compare, Delete, Put, Range, Txn, WatchBatch
from raftstore.verify.history import Call

KEYS = [b"key/%d" % number for number in range(5)]
THINK_S = (0.0, 0.25)


@dataclass
class Watched:
    """What one watch gave, from revision `start` on (0: from where its first batch stands)."""

    start: int
    prev_kv: bool
    batches: list[WatchBatch] = field(default_factory=list)


class Workload:
    """Histories of all clients."""

    def __init__(self, now: Any) -> None:
        self._now = now
        self.calls: list[Call] = []
        self.watches: list[Watched] = []
        self.compacted: list[int] = []
        self.broken: list[str] = []
        """Errors that no promise covers."""

    async def run(self, number: int, client: StoreClient, randomness: Randomness) -> None:
        """One client, forever."""
        known: dict[bytes, int] = {}
        while True:
            await asyncio.sleep(randomness.uniform(*THINK_S))
            await self._one(number, client, randomness, known)

    async def _one(
        self, number: int, client: StoreClient, randomness: Randomness, known: dict[bytes, int]
    ) -> None:
        key = randomness.choice(KEYS)
        kinds: list[Literal["put", "delete", "cas", "range"]] = ["put", "delete", "cas", "range"]
        kind = randomness.choices(kinds, (4, 1, 3, 4))[0]
        value = b"%d-%d" % (number, len(self.calls)) if kind in ("put", "cas") else b""
        call = Call(number, kind, key, value, known.get(key, 0), self._now())
        self.calls.append(call)
        try:
            call.result = await client.execute(_operation(call))
            call.outcome = "ok"
        except UnknownOutcome:
            call.outcome = "unknown"
        except Unavailable:
            call.outcome = "failed"
        except StoreError as error:
            self.broken.append(f"{call} raised {error!r}")
        call.returned_s = self._now()
        if call.outcome == "ok" and kind == "range":
            known[key] = call.result.kvs[0].mod_revision if call.result.kvs else 0
        elif call.outcome == "ok":
            known[key] = call.result.revision

    async def watch(self, client: StoreClient, randomness: Randomness) -> None:
        """Watch all keys, now and then from the past or anew, forever."""
        while True:
            back = randomness.randint(0, 40)
            newest = max((c.result.revision for c in self.calls if c.result is not None), default=1)
            watched = Watched(max(0, newest - back) if back > 10 else 0, randomness.random() < 0.7)
            self.watches.append(watched)
            try:
                async with asyncio.timeout(randomness.uniform(5.0, 30.0)):
                    await self._follow(client, watched)
            except (TimeoutError, Compacted):
                continue

    async def _follow(self, client: StoreClient, watched: Watched) -> None:
        stream = client.watch(
            b"key/", b"key0", start_revision=watched.start, prev_kv=watched.prev_kv
        )
        async with aclosing(stream) as batches:
            async for batch in batches:
                watched.batches.append(batch)

    async def compact(self, client: StoreClient, randomness: Randomness) -> None:
        """Forget history under load, forever."""
        while True:
            await asyncio.sleep(randomness.uniform(2.0, 8.0))
            newest = max((c.result.revision for c in self.calls if c.result is not None), default=1)
            target = newest - randomness.randint(0, 30)
            if target > max(self.compacted, default=1):
                self.compacted.append(target)
                try:
                    await client.compact(target)
                except (UnknownOutcome, Unavailable, Compacted):
                    continue


def _operation(call: Call) -> Any:
    if call.kind == "put":
        return Put(call.key, call.value)
    if call.kind == "delete":
        return Delete(call.key)
    if call.kind == "range":
        return Range(call.key)
    unchanged = Compare(call.key, "mod", "=", call.expected_revision)
    return Txn([unchanged], [Put(call.key, call.value)], [Range(call.key)])
