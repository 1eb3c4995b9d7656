from __future__ import annotations

import pytest

from raftstore import watch as watch_module
from raftstore import wire
from raftstore.errors import Compacted
from raftstore.mvcc.machine import Request
from raftstore.state import ReplicatedState
from raftstore.types import ALL_FROM, WatchBatch
from raftstore.watch import Watcher
from raftstore.wire import Kind


def _write(state: ReplicatedState, *operations: list[object]) -> None:
    for operation in operations:
        state.apply(0, wire.pack([Request(0, 0, 0, wire.pack(operation))]))


def _put(state: ReplicatedState, key: bytes, number: int = 1) -> None:
    for _ in range(number):
        _write(state, [Kind.PUT, key, b"v"])


def _drain(watcher: Watcher) -> list[WatchBatch]:
    batches = []
    while (batch := watcher.take()) is not None:
        batches.append(batch)
    return batches


def _revisions(batches: list[WatchBatch]) -> list[int]:
    return [batch.revision for batch in batches if batch.events]


def test_a_watch_from_the_past_catches_up_and_goes_on_without_gap_or_repetition() -> None:
    state = ReplicatedState()
    _put(state, b"a", 5)
    news: list[int] = []
    watcher = state.hub.open(b"a", b"", 3, False, lambda: news.append(1))
    first = watcher.take()
    assert first is not None
    _put(state, b"a", 3)
    seen = [first.revision, *_revisions(_drain(watcher))]
    _put(state, b"a", 2)
    seen += _revisions(_drain(watcher))
    assert seen == list(range(3, 12))
    assert news


def test_a_watch_from_now_first_tells_that_it_stands() -> None:
    state = ReplicatedState()
    _put(state, b"a", 2)
    watcher = state.hub.open(b"a", ALL_FROM, 0, False, lambda: None)
    assert watcher.take() == WatchBatch(3, ())
    assert watcher.take() is None
    _put(state, b"b")
    assert _revisions(_drain(watcher)) == [4]


def test_only_keys_in_range_are_reported_and_previous_versions_on_request() -> None:
    state = ReplicatedState()
    watcher = state.hub.open(b"b", b"c", 2, True, lambda: None)
    single = state.hub.open(b"c", b"", 2, False, lambda: None)
    _put(state, b"a")
    _put(state, b"b", 2)
    _put(state, b"c")
    _write(state, [Kind.DELETE, b"a", ALL_FROM])
    batches = [b for b in _drain(watcher) if b.events]
    assert [(b.revision, len(b.events)) for b in batches] == [(3, 1), (4, 1), (6, 1)]
    assert batches[1].events[0].prev_kv == batches[0].events[0].kv
    assert batches[2].events[0].type == "delete"
    assert _revisions(_drain(single)) == [5, 6]


def test_a_slow_watcher_keeps_a_bounded_queue_and_misses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_module, "MAX_QUEUED_EVENTS", 10)
    state = ReplicatedState()
    watcher = state.hub.open(b"a", b"", 0, False, lambda: None)
    assert watcher.take() is not None
    _put(state, b"a", 100)
    assert len(watcher._queue) == 10
    assert _revisions(_drain(watcher)) == list(range(2, 102))


def test_a_watch_that_compaction_overtook_is_told() -> None:
    state = ReplicatedState()
    _put(state, b"a", 10)
    late = state.hub.open(b"a", b"", 2, False, lambda: None)
    _write(state, [Kind.COMPACT, 8])
    with pytest.raises(Compacted):
        late.take()
    with pytest.raises(Compacted):
        state.hub.open(b"a", b"", 7, False, lambda: None)
    at_compaction = state.hub.open(b"a", b"", 8, False, lambda: None)
    assert _revisions(_drain(at_compaction)) == [8, 9, 10, 11]


def test_a_watch_of_the_future_waits_for_its_revision() -> None:
    state = ReplicatedState()
    watcher = state.hub.open(b"a", b"", 5, False, lambda: None)
    assert watcher.take() is None
    _put(state, b"a", 6)
    assert _revisions(_drain(watcher)) == [5, 6, 7]


def test_progress_is_told_only_when_nothing_is_owed() -> None:
    state = ReplicatedState()
    watcher = state.hub.open(b"a", b"", 2, False, lambda: None)
    _put(state, b"a")
    _put(state, b"other", 3)
    assert watcher.progress() is None
    _drain(watcher)
    assert watcher.progress() == WatchBatch(5, ())


def test_a_watch_goes_on_over_an_installed_snapshot() -> None:
    leader, follower = ReplicatedState(), ReplicatedState()
    watcher = follower.hub.open(b"a", b"", 0, False, lambda: None)
    assert _revisions(_drain(watcher)) == []
    _put(follower, b"a", 2)
    _put(leader, b"a", 9)
    head, chunks = leader.cut()
    follower.restore(wire.unpack(wire.pack(head)), wire.unpack(wire.pack(list(chunks))))
    assert _revisions(_drain(watcher)) == list(range(2, 11))


def test_closed_watchers_are_forgotten() -> None:
    state = ReplicatedState()
    for end in (b"", ALL_FROM):
        state.hub.open(b"a", end, 0, False, lambda: None).close()
    assert not state.hub._ranges
    assert not state.hub._single
