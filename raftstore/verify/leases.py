"""What a lease promises: never gone early, gone soon after its time, and truthful about it.

All times are true ones. The leader counts by its own clock, whose rate is wrong by at most
`max_drift`: `ttl` of its seconds are at least ttl / (1 + drift) true ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from raftstore.types import Event, Lease
from raftstore.verify.history import Applied

LATE_S = 2.0
"""How long after its time a lease of a store without faults may still be there."""
RESOLUTION_S = 1e-3


class Asked(NamedTuple):
    """One answered question about a lease; `found` None: told that it does not exist."""

    invoked_s: float
    returned_s: float
    found: Lease | None


@dataclass
class Held:
    """One lease with one key, which nothing but the end of the lease deletes."""

    id: int
    ttl_s: int
    key: bytes
    granted_s: float
    """When the grant was asked for."""
    kept: list[Asked] = field(default_factory=list)
    told: list[Asked] = field(default_factory=list)
    touched_s: float = 0.0
    """When the last keep-alive, whatever became of it, was over."""
    revoked_s: float = float("inf")
    """When its revocation was asked for."""
    revocation_told_s: float = float("inf")
    """When that was told to be done."""


def check(
    held: Sequence[Held], applied: Applied, settled_s: float, end_s: float, max_drift: float
) -> list[str]:
    """`settled_s`: since when there were neither faults nor changes of leader."""
    gone = {e.kv.key: r for r, events in applied.events.items() for e in events if is_end(e)}
    attached = {e.kv.key for events in applied.events.values() for e in events if e.type == "put"}
    problems: list[str] = []
    for lease in held:
        revision = gone.get(lease.key)
        gone_s = float("inf") if revision is None else applied.at_s[revision]
        problems += _early(lease, gone_s, 1 + max_drift)
        if lease.key in attached:
            problems += _late(lease, gone_s, settled_s, end_s, 1 + max_drift)
            problems += _untrue(lease, gone_s, 1 + max_drift)
    return problems


def is_end(event: Event) -> bool:
    return event.type == "delete"


def _early(lease: Held, gone_s: float, slow: float) -> Iterator[str]:
    asked_s = [k.invoked_s for k in lease.kept if k.found is not None]
    for moment_s in asked_s:
        if moment_s > gone_s:
            yield f"kept alive at {moment_s:.3f} s after it was gone at {gone_s:.3f} s: {lease}"
    earliest_s = max([lease.granted_s, *asked_s]) + lease.ttl_s / slow - RESOLUTION_S
    if gone_s < min(earliest_s, lease.revoked_s):
        yield f"gone at {gone_s:.3f} s, not before {earliest_s:.3f} s was promised: {lease}"
    for answer in lease.kept:
        before_s = [m for m in asked_s if m < answer.invoked_s]
        earliest_s = max([lease.granted_s, *before_s]) + lease.ttl_s / slow - RESOLUTION_S
        if answer.found is None and answer.returned_s < min(earliest_s, lease.revoked_s):
            yield f"told as expired at {answer.returned_s:.3f} s, which is early: {lease}"


def _late(lease: Held, gone_s: float, settled_s: float, end_s: float, slow: float) -> Iterator[str]:
    due_s = max(settled_s, lease.touched_s, lease.granted_s) + lease.ttl_s * slow + LATE_S
    if gone_s > due_s and end_s > due_s:
        yield f"still there at {due_s:.3f} s (gone at {gone_s:.3f} s): {lease}"
    if gone_s > lease.revocation_told_s:
        yield f"revoked, but there until {gone_s:.3f} s: {lease}"


def _untrue(lease: Held, gone_s: float, slow: float) -> Iterator[str]:
    """The remaining time is told in whole seconds, rounded down as etcd does."""
    for answer in lease.told:
        found = answer.found
        if found is None or found.ttl_s < 0:
            if gone_s > answer.returned_s:
                yield f"told as gone ({answer}) before {gone_s:.3f} s: {lease}"
            continue
        kept_s = [k.invoked_s for k in lease.kept if k.found and k.returned_s <= answer.invoked_s]
        used_s = (answer.returned_s - max([lease.granted_s, *kept_s])) * slow
        lasts_s = answer.invoked_s + found.ttl_s / slow - RESOLUTION_S
        too_long = found.ttl_s > lease.ttl_s or gone_s < min(lasts_s, lease.revoked_s)
        if answer.invoked_s > gone_s or too_long or found.ttl_s < lease.ttl_s - used_s - 1:
            yield f"untrue time to live: {answer}, gone at {gone_s:.3f} s: {lease}"
        if found.granted_s != lease.ttl_s or list(found.keys) not in ([], [lease.key]):
            yield f"untrue facts: {answer}: {lease}"
