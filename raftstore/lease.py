"""When leases expire: the leader's monotonic clock decides, and never early.

A new leader cannot know when keep-alives last came, so it starts every lease afresh. A keep-alive
counts only once leadership is confirmed (the caller sees to that), so one that a deposed leader
accepted is always older than the new leader's fresh start.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from actors.seams import Clock
from actors.seams.clock import TimerHandle
from raftstore.errors import LeaseNotFound
from raftstore.mvcc.leases import LeaseTable
from raftstore.types import Lease

RETRY_S = 1.0
"""A revocation that did not go through is proposed again after this long."""


class Lessor:
    """Deadlines of the leases in a table, while this member leads."""

    def __init__(
        self, clock: Clock, table: Callable[[], LeaseTable], revoke: Callable[[int], None]
    ) -> None:
        self._clock, self._table, self._revoke = clock, table, revoke
        self._deadlines_s: dict[int, float] = {}
        self._expired: set[int] = set()
        self._queue: list[tuple[float, int]] = []
        self._timer: TimerHandle | None = None
        self._leading = False

    def lead(self) -> None:
        """Start all leases afresh."""
        self._leading = True
        self._deadlines_s, self._queue, self._expired = {}, [], set()
        for lease_id in self._table():
            self._extend(lease_id)
        self._arm()

    def stop(self) -> None:
        """Another member leads, or none."""
        self._leading = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def changed(self, lease_id: int, exists: bool) -> None:
        """A lease was granted or revoked."""
        if not self._leading:
            return
        if exists:
            self._extend(lease_id)
            self._arm()
        else:
            self._deadlines_s.pop(lease_id, None)
            self._expired.discard(lease_id)

    def keep_alive(self, lease_id: int) -> Lease:
        """Start it afresh. Raises LeaseNotFound, also while its revocation is under way."""
        ttl_s = self._table().ttl_s(lease_id)
        if lease_id in self._expired:
            raise LeaseNotFound(f"lease {lease_id} has expired")
        self._extend(lease_id)
        return Lease(lease_id, ttl_s, ttl_s)

    def time_to_live(self, lease_id: int) -> Lease:
        table = self._table()
        if lease_id not in table:
            return Lease(lease_id, -1, 0)
        left_s = self._deadlines_s.get(lease_id, self._clock.now()) - self._clock.now()
        keys = table.keys(lease_id)
        return Lease(lease_id, max(0, int(left_s)), table.ttl_s(lease_id), keys)

    def _extend(self, lease_id: int) -> None:
        """The queue keeps older deadlines too; they are recognised when their time comes."""
        deadline_s = self._clock.now() + self._table().ttl_s(lease_id)
        queued = lease_id in self._deadlines_s
        self._deadlines_s[lease_id] = deadline_s
        if not queued:
            heapq.heappush(self._queue, (deadline_s, lease_id))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue:
            delay_s = max(0.0, self._queue[0][0] - self._clock.now())
            self._timer = self._clock.call_later(delay_s, self._expire)

    def _expire(self) -> None:
        now_s = self._clock.now()
        while self._queue and self._queue[0][0] <= now_s:
            _, lease_id = heapq.heappop(self._queue)
            deadline_s = self._deadlines_s.get(lease_id)
            if deadline_s is None:
                continue
            if deadline_s > now_s:
                heapq.heappush(self._queue, (deadline_s, lease_id))
                continue
            self._expired.add(lease_id)
            heapq.heappush(self._queue, (now_s + RETRY_S, lease_id))
            self._revoke(lease_id)
        self._arm()
