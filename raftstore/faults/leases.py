"""Leases in real time: kept alive for a while, then left to end, while leaders die and pause.

A lease must not end before its TTL has passed since it was surely renewed, and must end at most
TTL + 2 s late: a new leader starts every lease afresh, and takes its time to be elected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from actors.seams import system_seams
from actors.seams.randomness import Randomness
from raftstore.client import StoreClient
from raftstore.errors import LeaseNotFound, Unavailable, UnknownOutcome

LATE_S = 2.0
TTLS_S = (2, 3, 4)


@dataclass
class Life:
    """Of one lease, in the client's time. `renewed_s`: when the last renewal that counted was
    asked for; `perhaps_s`: when the last that may have counted was over."""

    lease: int
    ttl_s: int
    renewed_s: float
    perhaps_s: float
    ended_s: float = 0.0


class LeaseLoad:
    """Grants `number` leases over `over_s` seconds and follows them to their end."""

    def __init__(self, endpoints: Sequence[str], randomness: Randomness) -> None:
        self.lives: dict[bytes, Life] = {}
        self._client, self._watching = StoreClient(endpoints), StoreClient(endpoints)
        self._randomness = randomness
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._client.start(system_seams())
        await self._watching.start(system_seams())
        begun = await self._client.put(b"begun", b"begun")
        self._watch = asyncio.create_task(self._follow(begun.revision + 1))

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._client.stop()
        await self._watching.stop()

    async def run(self, number: int, over_s: float) -> None:
        """Until the last lease is left alone."""
        starts = sorted(self._randomness.uniform(0.0, over_s) for _ in range(number))
        plans = [(at_s, self._randomness.choice(TTLS_S)) for at_s in starts]
        kept_s = [self._randomness.uniform(0.0, over_s - at_s) for at_s in starts]
        await asyncio.gather(
            *(
                self._live(at_s, ttl_s, keep_s)
                for (at_s, ttl_s), keep_s in zip(plans, kept_s, strict=True)
            )
        )

    async def ended(self) -> None:
        """Until all have ended, or should have long ago."""
        last_s = max(life.perhaps_s + 2 * life.ttl_s + LATE_S for life in self.lives.values())
        while any(not life.ended_s for life in self.lives.values()):
            if time.monotonic() > last_s + LATE_S:
                return
            await asyncio.sleep(0.05)

    async def _live(self, at_s: float, ttl_s: int, keep_s: float) -> None:
        await asyncio.sleep(at_s)
        asked_s = time.monotonic()
        try:
            lease = await self._client.lease_grant(ttl_s)
        except (Unavailable, UnknownOutcome):
            return
        key = b"lease/%x" % lease.id
        life = self.lives[key] = Life(lease.id, lease.ttl_s, asked_s, time.monotonic())
        try:
            await self._client.put(key, key, lease=lease.id)
        except LeaseNotFound:
            life.ended_s = time.monotonic()
        except (Unavailable, UnknownOutcome):
            del self.lives[key]  # there may be no key whose end would be seen
            return
        while time.monotonic() < asked_s + keep_s and not life.ended_s:
            await asyncio.sleep(life.ttl_s / 4)
            if not await self._renew(life):
                return

    async def _renew(self, life: Life) -> bool:
        """Whether the lease may be there still."""
        asked_s = time.monotonic()
        try:
            await self._client.lease_keep_alive(life.lease)
            life.renewed_s = asked_s
        except Unavailable:
            pass
        except LeaseNotFound:
            return False
        life.perhaps_s = time.monotonic()
        return True

    async def _follow(self, revision: int) -> None:
        watch = self._watching.watch(b"lease/", b"lease0", start_revision=revision)
        async with aclosing(watch) as batches:
            async for batch in batches:
                for event in batch.events:
                    if event.type == "delete" and event.kv.key in self.lives:
                        self.lives[event.kv.key].ended_s = time.monotonic()

    # ---- what was seen

    def check(self) -> list[str]:
        """What came early, too late or never, in words."""
        return [problem for life in self.lives.values() for problem in _judge(life)]

    def late_s(self) -> list[float]:
        """By how much each ended after its TTL."""
        ended = [life for life in self.lives.values() if life.ended_s]
        return [life.ended_s - life.perhaps_s - life.ttl_s for life in ended]


def _judge(life: Life) -> list[str]:
    if not life.ended_s:
        return [f"never ended: {life}"]
    early_s = life.renewed_s + life.ttl_s - life.ended_s
    late_s = life.ended_s - life.perhaps_s - life.ttl_s
    if early_s > 0:
        return [f"{early_s:.3f} s early: {life}"]
    if late_s > life.ttl_s + LATE_S:
        return [f"{late_s:.3f} s late: {life}"]
    return []
