"""Checkers accept what the store promises and reject each way of breaking it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from raftstore.types import (
    Delete,
    DeleteResult,
    Event,
    HashKv,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
    WatchBatch,
)
from raftstore.verify import hashes, revisions, watches
from raftstore.verify.history import Applied, Call
from raftstore.verify.watches import Watched

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
    op, result = Put(b"key/a", value), PutResult(revision)
    return Call(1, op, began_s, began_s + 0.5, "ok", result)


def _read(revision: int, found: KeyValue | None, began_s: float) -> Call:
    kvs = [found] if found else []
    result = RangeResult(revision, kvs, False, len(kvs))
    return Call(2, Range(b"key/a"), began_s, began_s + 0.5, "ok", result)


GOOD = [
    _put(b"1", 2, 1.0),
    _put(b"2", 3, 2.0),
    _read(3, SECOND, 3.0),
    Call(1, Delete(b"key/a"), 4.0, 4.5, "ok", DeleteResult(4, 1, [])),
    _read(4, None, 5.0),
]


def test_a_history_that_keeps_every_promise_is_accepted(applied: Applied) -> None:
    assert revisions.check(GOOD, applied) == []


@pytest.mark.parametrize(
    ("calls", "complaint"),
    [
        ([*GOOD, _read(3, SECOND, 6.0)], "went back before revision 4"),
        ([*GOOD[:2], _read(3, FIRST, 3.0)], "stale or wrong answer"),
        ([_put(b"lost", 2, 1.0)], "stale or wrong answer"),
        (GOOD[1:], "revision 2 was made by no call"),
        ([*GOOD, dataclasses.replace(GOOD[0], client=3)], "revision 2 was made by"),
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
        Call(1, Put(b"key/a", b"never"), 1.0, outcome="unknown"),
        *GOOD[1:],
    ]
    assert revisions.check(calls, applied) == []


def test_a_write_that_was_not_asked_for_before_it_happened_does_not_explain_it(
    applied: Applied,
) -> None:
    late = dataclasses.replace(GOOD[0], outcome="unknown", result=None, invoked_s=9.0)
    assert "made by no call" in revisions.check([late, *GOOD[1:]], applied)[0]


def test_a_read_that_may_be_stale_may_go_back_but_not_invent(applied: Applied) -> None:
    stale = dataclasses.replace(_read(2, FIRST, 6.0), serializable=True)
    assert revisions.check([*GOOD, stale], applied) == []
    invented = dataclasses.replace(_read(2, SECOND, 6.0), serializable=True)
    assert "wrong answer" in revisions.check([*GOOD, invented], applied)[0]


def test_a_value_that_was_written_twice_is_reported(applied: Applied) -> None:
    applied.add("A", 5, [Event("put", FIRST._replace(mod_revision=5))], 5.0)
    assert any("written twice" in found for found in revisions.check(GOOD, applied))


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


def _watched(batches: list[WatchBatch], **settings: Any) -> Watched:
    return Watched(b"key/", b"key0", 0, batches=batches, **settings)


def test_a_complete_watch_is_accepted(applied: Applied) -> None:
    assert watches.check(_watched(BATCHES, prev_kv=True), applied, 0) == []


@pytest.mark.parametrize(
    ("batches", "complaint"),
    [
        ([*BATCHES[:2], *BATCHES[3:]], "missing [3]"),
        ([*BATCHES[:3], *BATCHES[2:]], "too many [3]"),
        ([BATCHES[0], BATCHES[2], BATCHES[1], *BATCHES[3:]], "went from revision 3 to 2"),
        ([*BATCHES[:2], WatchBatch(4, ())], "missing [3, 4]"),
        ([*BATCHES[:2], WatchBatch(3, [Event("put", SECOND)])], "prev_kv None"),
        ([BATCHES[0], WatchBatch(3, [*BATCHES[1].events, *BATCHES[2].events])], "of others"),
    ],
)
def test_a_watch_that_breaks_a_promise_is_reported(
    applied: Applied, batches: list[WatchBatch], complaint: str
) -> None:
    found = watches.check(_watched(batches, prev_kv=True), applied, 0)
    assert complaint in "\n".join(found)


def test_a_filtered_watch_has_the_other_events_only(applied: Applied) -> None:
    puts = [batch for batch in BATCHES if all(e.type == "put" for e in batch.events)]
    watched = _watched(puts, prev_kv=True, filters=("delete",))
    assert watches.check(watched, applied, 0) == []
    wrong = _watched(BATCHES, prev_kv=True, filters=("delete",))
    assert "too many [4]" in watches.check(wrong, applied, 0)[0]


def test_a_watch_that_is_told_nothing_is_reported() -> None:
    assert watches.check_current(_watched(BATCHES), 4) == []
    assert "long after revision 5" in watches.check_current(_watched(BATCHES), 5)[0]


def test_a_previous_version_may_be_missing_only_where_history_was_compacted(
    applied: Applied,
) -> None:
    batches = [*BATCHES[:2], WatchBatch(3, [Event("put", SECOND)])]
    assert watches.check(_watched(batches, prev_kv=True), applied, 3) == []


def test_hashes_of_the_same_revisions_must_agree() -> None:
    told = [("A", HashKv(7, 2, 9)), ("B", HashKv(8, 3, 9)), ("C", HashKv(7, 2, 9))]
    assert hashes.check(told) == []
    assert "B and A differ" in hashes.check([*told, ("B", HashKv(9, 2, 9))])[0]
