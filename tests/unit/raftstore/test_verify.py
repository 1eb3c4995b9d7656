"""Checkers accept what the store promises and reject each way of breaking it."""

from __future__ import annotations

import dataclasses

import pytest

from raftstore.types import DeleteResult, Event, KeyValue, PutResult, RangeResult, WatchBatch
from raftstore.verify import revisions, watches
from raftstore.verify.history import Applied, Call

FIRST = KeyValue(b"key/a", b"1", 2, 2, 1)
SECOND = KeyValue(b"key/a", b"2", 2, 3, 2)
GONE = KeyValue(b"key/a", b"", 0, 4, 0)


@pytest.fixture
def applied() -> Applied:
    made = Applied()
    for revision, event in enumerate(
        (Event("put", FIRST), Event("put", SECOND), Event("delete", GONE)), 2
    ):
        made.add("A", revision, [event], float(revision))
    return made


def _put(value: bytes, revision: int, began_s: float) -> Call:
    result = PutResult(revision)
    return Call(1, "put", b"key/a", value, 0, began_s, began_s + 0.5, "ok", result)


def _read(revision: int, found: KeyValue | None, began_s: float) -> Call:
    kvs = [found] if found else []
    result = RangeResult(revision, kvs, False, len(kvs))
    return Call(2, "range", b"key/a", b"", 0, began_s, began_s + 0.5, "ok", result)


GOOD = [
    _put(b"1", 2, 1.0),
    _put(b"2", 3, 2.0),
    _read(3, SECOND, 3.0),
    Call(1, "delete", b"key/a", b"", 0, 4.0, 4.5, "ok", DeleteResult(4, 1)),
    _read(4, None, 5.0),
]


def test_a_history_that_keeps_every_promise_is_accepted(applied: Applied) -> None:
    assert revisions.check(GOOD, applied) == []


@pytest.mark.parametrize(
    ("calls", "complaint"),
    [
        ([*GOOD, _read(3, SECOND, 6.0)], "went back before revision 4"),
        ([*GOOD[:2], _read(3, FIRST, 3.0)], "stale or wrong read"),
        ([_put(b"lost", 2, 1.0)], "not in its revision"),
        ([_put(b"9", 9, 1.0)], "does not exist"),
        ([dataclasses.replace(GOOD[0], outcome="failed", result=None)], "told as not applied"),
    ],
)
def test_an_answer_that_no_order_explains_is_reported(
    applied: Applied, calls: list[Call], complaint: str
) -> None:
    assert complaint in "\n".join(revisions.check(calls, applied))


def test_an_unknown_write_may_have_happened_or_not(applied: Applied) -> None:
    calls = [
        dataclasses.replace(GOOD[0], outcome="unknown", result=None),
        Call(1, "put", b"key/a", b"never", 0, 1.0, outcome="unknown"),
    ]
    assert revisions.check(calls, applied) == []


def test_a_value_that_was_written_twice_is_reported(applied: Applied) -> None:
    applied.add("A", 5, [Event("put", FIRST._replace(mod_revision=5))], 5.0)
    assert "written twice" in revisions.check([], applied)[0]


def test_members_that_apply_different_changes_are_reported(applied: Applied) -> None:
    applied.add("B", 3, [Event("delete", GONE)], 3.0)
    assert "B applied" in revisions.check([], applied)[0]


BATCHES = [
    WatchBatch(1, ()),
    WatchBatch(2, [Event("put", FIRST)]),
    WatchBatch(3, [Event("put", SECOND, FIRST)]),
    WatchBatch(4, [Event("delete", GONE, SECOND)]),
    WatchBatch(4, ()),
]


def test_a_complete_watch_is_accepted(applied: Applied) -> None:
    assert watches.check(BATCHES, 0, b"key/", True, applied, 0) == []


@pytest.mark.parametrize(
    ("batches", "complaint"),
    [
        ([*BATCHES[:2], *BATCHES[3:]], "missing [3]"),
        ([*BATCHES[:3], *BATCHES[2:]], "too many [3]"),
        ([BATCHES[0], BATCHES[2], BATCHES[1], *BATCHES[3:]], "went from revision 3 to 2"),
        ([*BATCHES[:2], WatchBatch(4, ())], "missing [3, 4]"),
        ([*BATCHES[:2], WatchBatch(3, [Event("put", SECOND)])], "prev_kv None"),
    ],
)
def test_a_watch_that_breaks_a_promise_is_reported(
    applied: Applied, batches: list[WatchBatch], complaint: str
) -> None:
    assert complaint in "\n".join(watches.check(batches, 0, b"key/", True, applied, 0))


def test_a_previous_version_may_be_missing_only_where_history_was_compacted(
    applied: Applied,
) -> None:
    batches = [*BATCHES[:2], WatchBatch(3, [Event("put", SECOND)])]
    assert watches.check(batches, 0, b"key/", True, applied, 3) == []
