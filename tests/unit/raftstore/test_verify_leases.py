"""The check of leases accepts what is promised and reports each way of breaking it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from raftstore.types import Event, KeyValue, Lease
from raftstore.verify import leases
from raftstore.verify.history import Applied
from raftstore.verify.leases import Asked, Held

KEY = b"lease/0"
HELD = Held(7, 4, KEY, granted_s=10.0, kept=[Asked(12.0, 12.1, Lease(7, 4, 4))], touched_s=12.1)


def _applied(gone_s: float | None) -> Applied:
    applied = Applied()
    applied.add("A", 2, [Event("put", KeyValue(KEY, KEY, 2, 2, 1, 7))], 10.1)
    if gone_s is not None:
        applied.add("A", 3, [Event("delete", KeyValue(KEY, b"", 0, 3, 0))], gone_s)
    return applied


def _check(gone_s: float | None, **changes: Any) -> list[str]:
    held = dataclasses.replace(HELD, **changes)
    return leases.check([held], _applied(gone_s), settled_s=5.0, end_s=60.0, max_drift=0.005)


def _told(at_s: float, left_s: int, granted_s: int = 4) -> list[Asked]:
    return [Asked(at_s, at_s + 0.1, Lease(7, left_s, granted_s, [KEY]))]


def test_a_lease_that_ends_in_time_is_accepted() -> None:
    assert _check(16.1, told=_told(13.0, 3) + _told(17.0, -1, 0)) == []


def test_a_revocation_may_end_it_before() -> None:
    assert _check(13.0, revoked_s=12.9, revocation_told_s=13.1) == []


@pytest.mark.parametrize(
    ("gone_s", "changes", "complaint"),
    [
        (15.9, {}, "not before 15.979 s"),
        (11.0, {}, "kept alive at 12.000 s after it was gone"),
        (20.0, {}, "still there at 18.120 s"),
        (None, {}, "still there"),
        (None, {"revoked_s": 13.0, "revocation_told_s": 13.1}, "revoked, but there"),
        (16.1, {"told": _told(13.0, 1)}, "untrue time to live"),
        (16.1, {"told": _told(13.0, 5)}, "untrue time to live"),
        (16.1, {"told": _told(16.05, 3)}, "untrue time to live"),
        (16.1, {"told": _told(17.0, 1)}, "untrue time to live"),
        (16.1, {"told": _told(14.0, -1, 0)}, "told as gone"),
        (16.1, {"told": _told(13.0, 4, 5)}, "untrue facts"),
        (16.1, {"kept": [*HELD.kept, Asked(13.0, 13.1, None)]}, "told as expired"),
    ],
)
def test_a_lease_that_breaks_a_promise_is_reported(
    gone_s: float | None, changes: dict[str, Any], complaint: str
) -> None:
    assert complaint in "\n".join(_check(gone_s, **changes))
