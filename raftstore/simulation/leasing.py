"""Clients that hold leases: granted, attached to a key, kept alive a while, ended or let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.seams.randomness import Randomness
from raftstore.client import StoreClient
from raftstore.errors import LeaseNotFound, StoreError, Unavailable, UnknownOutcome
from raftstore.types import Lease, Put
from raftstore.verify.history import Call
from raftstore.verify.leases import Asked, Held


class Leasing:
    """Histories of leases. `calls` takes the writes, which the other checks have to know of."""

    def __init__(self, now: Callable[[], float], calls: list[Call]) -> None:
        self._now, self._calls = now, calls
        self.held: list[Held] = []
        self.broken: list[str] = []

    async def run(self, number: int, client: StoreClient, randomness: Randomness) -> None:
        """One holder after another, forever."""
        while True:
            await asyncio.sleep(randomness.uniform(0.0, 1.0))
            try:
                await self._hold(number, client, randomness)
            except (UnknownOutcome, Unavailable, LeaseNotFound):
                continue
            except StoreError as error:
                self.broken.append(f"holder {number}: {error!r}")

    async def _hold(self, number: int, client: StoreClient, randomness: Randomness) -> None:
        ttl_s, granted_s = randomness.randint(1, 4), self._now()
        granted = await client.lease_grant(ttl_s)
        key = b"lease/%d" % len(self.held)
        lease = Held(granted.id, ttl_s, key, granted_s)
        self.held.append(lease)
        await self._attach(number, client, lease)
        for _ in range(randomness.randint(0, 6)):
            await asyncio.sleep(randomness.uniform(0.1, 0.5) * ttl_s)
            await self._keep(client, lease)
            if randomness.random() < 0.4:
                await self._ask(client, lease)
        if randomness.random() < 0.3:
            await self._revoke(client, lease)
        elif randomness.random() < 0.5:
            await asyncio.sleep(randomness.uniform(0.5, 1.5) * ttl_s)
            await self._ask(client, lease)

    async def _attach(self, number: int, client: StoreClient, lease: Held) -> None:
        call = Call(number, Put(lease.key, lease.key, lease.id), self._now())
        self._calls.append(call)
        try:
            call.result = await client.execute(call.op)
            call.outcome = "ok"
        except UnknownOutcome:
            call.outcome = "unknown"
        except (Unavailable, LeaseNotFound) as error:
            call.outcome = "failed" if isinstance(error, Unavailable) else "refused"
            raise
        finally:
            call.returned_s = self._now()

    async def _keep(self, client: StoreClient, lease: Held) -> None:
        asked_s = self._now()
        try:
            found = await _or_none(client.lease_keep_alive(lease.id))
            lease.kept.append(Asked(asked_s, self._now(), found))
            if found is None:
                raise LeaseNotFound(f"{lease.id}")
        finally:
            lease.touched_s = self._now()

    async def _ask(self, client: StoreClient, lease: Held) -> None:
        asked_s = self._now()
        found = await _or_none(client.lease_time_to_live(lease.id))
        lease.told.append(Asked(asked_s, self._now(), found))

    async def _revoke(self, client: StoreClient, lease: Held) -> None:
        lease.revoked_s = self._now()
        await client.lease_revoke(lease.id)
        lease.revocation_told_s = self._now()


async def _or_none(question: Any) -> Lease | None:
    try:
        found: Lease = await question
        return found
    except LeaseNotFound:
        return None
