"""Bugs in when leases end."""

from __future__ import annotations

import heapq
from typing import Any

from actors.simulation.patching import Patch, replace
from raftstore import wire
from raftstore.errors import StoreError
from raftstore.lease import Lessor
from raftstore.member import Member


def _half_time(original: Any) -> Any:
    def extend(self: Any, lease_id: int) -> None:
        original(self, lease_id)
        deadline_s = self._clock.now() + self._table().ttl_s(lease_id) / 2
        self._deadlines_s[lease_id] = deadline_s
        heapq.heappush(self._queue, (deadline_s, lease_id))

    return extend


def _no_expiry(original: Any) -> Any:
    return lambda self: None


def _no_takeover(original: Any) -> Any:
    def lead(self: Any) -> None:
        self._leading = True

    return lead


def _old_deadlines(original: Any) -> Any:
    def lead(self: Any) -> None:
        kept = dict(self._deadlines_s)
        original(self)
        for lease_id in kept.keys() & self._deadlines_s.keys():
            self._deadlines_s[lease_id] = kept[lease_id]
            heapq.heappush(self._queue, (kept[lease_id], lease_id))
        self._arm()

    return lead


def _unconfirmed(original: Any) -> Any:
    def keep_alive(self: Any, lease_id: int, answer: Any) -> None:
        try:
            answer(wire.success(self._lessor.keep_alive(lease_id)))
        except StoreError as error:
            answer(wire.failure(error))

    return keep_alive


def _full_time(original: Any) -> Any:
    def time_to_live(self: Any, lease_id: int) -> Any:
        found = original(self, lease_id)
        return found._replace(ttl_s=found.granted_s) if found.granted_s else found

    return time_to_live


PLANTED: dict[str, Patch] = {
    "lease expires early": replace(Lessor, "_extend", _half_time),
    "lease never expires": replace(Lessor, "_expire", _no_expiry),
    "a new leader forgets leases": replace(Lessor, "lead", _no_takeover),
    "a leader that comes back counts on": replace(Lessor, "lead", _old_deadlines),
    "keep-alives without confirmation": replace(Member, "keep_alive", _unconfirmed),
    "untrue time to live": replace(Lessor, "time_to_live", _full_time),
}
