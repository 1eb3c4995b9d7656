"""Store leases for objects that expire: one lease serves the objects of a short while."""

from __future__ import annotations

from actors.seams import Seams
from raftstore.types import Store

REUSE_OBJECTS = 1000
REUSE_S = 60.0


class SharedLeases:
    """Leases of at least `ttl_s`; an object lives up to REUSE_S (or 5%) longer than asked."""

    def __init__(self, store: Store, seams: Seams, ttl_s: int) -> None:
        self._store, self._seams, self._ttl_s = store, seams, ttl_s
        self._reuse_s = min(REUSE_S, max(ttl_s * 0.05, 1.0))
        self._lease_id = 0
        self._until_s = 0.0
        self._left = 0

    async def current(self) -> int:
        """The lease to put a new object under."""
        now_s = self._seams.clock.now()
        if now_s >= self._until_s or self._left <= 0:
            lease = await self._store.lease_grant(round(self._ttl_s + self._reuse_s))
            self._lease_id = lease.id
            self._until_s = now_s + self._reuse_s
            self._left = REUSE_OBJECTS
        self._left -= 1
        return self._lease_id

    def forget(self) -> None:
        """The current lease turned out to be gone."""
        self._left = 0
