from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raftstore import wire
from raftstore.errors import (
    Compacted,
    DuplicateKey,
    FutureRevision,
    InvalidRequest,
    LeaseNotFound,
    SessionExpired,
)
from raftstore.mvcc import sessions as sessions_module
from raftstore.mvcc import txn
from raftstore.mvcc.machine import Machine, Request
from raftstore.state import ReplicatedState
from raftstore.types import ALL_FROM, Compare, Delete, KeyValue, Op, Put, Range, Txn
from raftstore.wire import Kind


def _machine() -> Machine:
    return Machine(lambda revision, events: None)


def _apply(
    machine: Machine, operation: list[Any], session: tuple[int, int, int] = (0, 0, 0)
) -> Any:
    [answer] = machine.apply(wire.pack([Request(*session, wire.pack(operation))]))
    return wire.answer(wire.unpack(answer))


def _do(machine: Machine, op: Op) -> Any:
    return wire.decode_result(op, _apply(machine, wire.encode_op(op)))


def test_revisions_versions_and_generations_count_as_in_etcd() -> None:
    machine = _machine()
    assert machine.store.revision == 1
    _do(machine, Put(b"k", b"1"))
    _do(machine, Put(b"k", b"2"))
    assert machine.store.keys.get(b"k") == KeyValue(b"k", b"2", 2, 3, 2)
    _do(machine, Delete(b"k"))
    _do(machine, Put(b"k", b"3"))
    assert machine.store.keys.get(b"k") == KeyValue(b"k", b"3", 5, 5, 1)


def test_a_transaction_is_one_revision_and_sees_its_own_writes() -> None:
    machine = _machine()
    _do(machine, Put(b"old", b"x"))
    result = _do(
        machine,
        Txn(
            [Compare(b"old", "version", "=", 1), Compare(b"none", "version", "=", 0)],
            [Put(b"a", b"1"), Range(b"a", b"z"), Delete(b"old", prev_kv=True), Range(b"old")],
        ),
    )
    assert result.succeeded
    assert result.revision == 3
    put, seen, deleted, gone = result.responses
    assert put.revision == seen.revision == 3
    assert [kv.key for kv in seen.kvs] == [b"a", b"old"]
    assert deleted.prev_kvs[0].value == b"x"
    assert gone.kvs == []
    assert [e.type for e in machine.store.events(3)] == ["put", "delete"]


def test_a_range_of_a_named_revision_does_not_see_what_its_transaction_wrote() -> None:
    machine = _machine()
    _do(machine, Put(b"a", b"before"))
    now = machine.store.revision
    result = _do(machine, Txn([], [Put(b"a", b"after"), Range(b"a", revision=now), Range(b"a")]))
    _, then, later = result.responses
    assert [kv.value for kv in (*then.kvs, *later.kvs)] == [b"before", b"after"]


def test_nested_transactions_decide_all_compares_before_any_write() -> None:
    machine = _machine()
    inner = Txn([Compare(b"a", "create", "=", 0)], [Put(b"b", b"new")], [Put(b"c", b"old")])
    result = _do(machine, Txn([], [Put(b"a", b"1"), inner]))
    assert result.responses[1].succeeded
    assert machine.store.revision == 2


@pytest.mark.parametrize(
    "operations",
    [
        [Put(b"a", b"1"), Put(b"a", b"2")],
        [Put(b"b", b"1"), Delete(b"a", b"c")],
        [Put(b"a", b"1"), Txn([], [], [Put(b"a", b"2")])],
        [Put(b"", b"1")],
    ],
)
def test_a_contradictory_transaction_is_refused_and_changes_nothing(operations: list[Op]) -> None:
    machine = _machine()
    with pytest.raises(InvalidRequest):
        _do(machine, Txn([], operations))
    assert machine.store.revision == 1


def test_a_refused_operation_undoes_nothing_because_nothing_was_done() -> None:
    machine = _machine()
    for bad, error in [
        (Put(b"b", b"", lease=9), LeaseNotFound),
        (Range(b"b", revision=99), FutureRevision),
    ]:
        with pytest.raises(error):
            _do(machine, Txn([], [Put(b"a", b"1"), bad]))
    assert machine.store.revision == 1
    assert machine.store.keys.count(b"\0", ALL_FROM) == 0


def test_comparing_the_value_of_a_missing_key_is_false() -> None:
    machine = _machine()
    for op in ("=", "!=", "<", ">"):
        assert not _do(machine, Txn([Compare(b"x", "value", op, b"")], [Range(b"x")])).succeeded


def test_writes_without_effect_make_no_revision() -> None:
    machine = _machine()
    assert _do(machine, Delete(b"none", ALL_FROM)).deleted == 0
    assert machine.store.revision == 1


def test_ranges_limit_count_and_look_back() -> None:
    machine = _machine()
    for number in range(10):
        _do(machine, Put(b"k%d" % number, b"v"))
    _do(machine, Delete(b"k0", b"k5"))
    now = machine.read(Range(b"k", b"l", limit=2, keys_only=True))
    assert ([kv.key for kv in now.kvs], now.more, now.count) == ([b"k5", b"k6"], True, 5)
    assert now.kvs[0].value == b""
    then = machine.read(Range(b"k", b"l", revision=11, limit=3))
    assert ([kv.key for kv in then.kvs], then.count) == ([b"k0", b"k1", b"k2"], 10)
    assert machine.read(Range(b"k", ALL_FROM, count_only=True)).count == 5
    assert machine.read(Range(b"l", b"k")).kvs == []


def test_compaction_forgets_only_what_was_superseded() -> None:
    machine = _machine()
    for value in (b"1", b"2", b"3"):
        _do(machine, Put(b"k", value))
    _do(machine, Put(b"gone", b""))
    _do(machine, Delete(b"gone"))
    _apply(machine, [Kind.COMPACT, 3])
    assert machine.read(Range(b"k", revision=3)).kvs[0].value == b"2"
    with pytest.raises(Compacted) as caught:
        machine.read(Range(b"k", revision=2))
    assert caught.value.compact_revision == 3
    with pytest.raises(Compacted):
        _apply(machine, [Kind.COMPACT, 3])
    with pytest.raises(FutureRevision):
        _apply(machine, [Kind.COMPACT, 99])
    _apply(machine, [Kind.COMPACT, 6])
    assert [e.type for e in machine.store.events(6)] == ["delete"], "kept until the next one"
    _do(machine, Put(b"other", b""))
    _apply(machine, [Kind.COMPACT, 7])
    assert machine.store.events(6) == []
    assert len(machine.store.keys._histories) == 2


def test_revoking_a_lease_deletes_its_keys_in_one_revision() -> None:
    machine = _machine()
    lease_id, *_ = _apply(machine, [Kind.LEASE_GRANT, 10, 0])
    for key in (b"a", b"b", b"moved"):
        _do(machine, Put(key, b"", lease=lease_id))
    _do(machine, Put(b"moved", b""))
    before = machine.store.revision
    _apply(machine, [Kind.LEASE_REVOKE, lease_id])
    assert machine.store.revision == before + 1
    assert [kv.key for kv in machine.read(Range(b"\0", ALL_FROM)).kvs] == [b"moved"]
    with pytest.raises(LeaseNotFound):
        _apply(machine, [Kind.LEASE_REVOKE, lease_id])


def test_a_repeated_request_is_answered_again_and_not_executed_again() -> None:
    machine = _machine()
    with pytest.raises(SessionExpired):
        _apply(machine, [Kind.PUT, b"k", b"1"], (5, 1, 1))
    _apply(machine, [Kind.SESSION_OPEN], (5, 0, 0))
    first = _apply(machine, [Kind.PUT, b"k", b"1"], (5, 1, 1))
    assert _apply(machine, [Kind.PUT, b"k", b"1"], (5, 1, 1)) == first
    assert machine.store.revision == 2
    _apply(machine, [Kind.PUT, b"k", b"2"], (5, 2, 2))
    with pytest.raises(SessionExpired):
        _apply(machine, [Kind.PUT, b"k", b"1"], (5, 1, 1))
    assert machine.store.keys.get(b"k").value == b"2"  # type: ignore[union-attr]


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 3)
    machine = _machine()
    for client in (1, 2, 3, 1, 4):
        _apply(machine, [Kind.SESSION_OPEN], (client, 0, 0))
    assert len(machine.sessions) == 3
    with pytest.raises(SessionExpired):
        _apply(machine, [Kind.PUT, b"k", b""], (2, 1, 1))
    _apply(machine, [Kind.PUT, b"k", b""], (1, 1, 1))


def test_a_restored_snapshot_is_the_same_state() -> None:
    state = ReplicatedState()
    machine = state.machine
    _apply(machine, [Kind.SESSION_OPEN], (5, 0, 0))
    lease_id, *_ = _apply(machine, [Kind.LEASE_GRANT, 10, 0])
    for number in range(50):
        _apply(machine, [Kind.PUT, b"k%d" % (number % 7), b"v", lease_id], (5, number + 1, 1))
    _do(machine, Delete(b"k3"))
    _apply(machine, [Kind.COMPACT, 20])
    head, chunks = state.cut()
    _do(machine, Put(b"later", b""))
    copy = ReplicatedState()
    unpacked = [wire.unpack(wire.pack(chunk)) for chunk in chunks]
    copy.restore(wire.unpack(wire.pack(head)), unpacked)
    assert copy.machine.store.revision == machine.store.revision - 1
    everything = Range(b"\0", ALL_FROM, revision=copy.machine.store.revision)
    assert copy.machine.read(everything).kvs == machine.read(everything).kvs
    assert copy.machine.leases.keys(lease_id) == machine.leases.keys(lease_id)
    assert _apply(copy.machine, [Kind.PUT, b"k", b"v"], (5, 50, 1))[0] == 51
    for revision in range(20, copy.machine.store.revision + 1):
        assert copy.machine.store.events(revision) == machine.store.events(revision)


KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])


class ModelledStore(RuleBasedStateMachine):
    """Against the obvious model: a copy of the whole key space per revision."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = _machine()
        self.states: dict[int, dict[bytes, bytes]] = {1: {}}
        self.compacted = 0

    def _became(self, state: dict[bytes, bytes]) -> None:
        self.states[self.machine.store.revision] = state

    @rule(key=KEYS, value=st.binary(max_size=3))
    def put(self, key: bytes, value: bytes) -> None:
        before = self.states[self.machine.store.revision]
        _do(self.machine, Put(key, value))
        self._became(before | {key: value})

    @rule(key=KEYS, end=st.sampled_from([b"", b"c", ALL_FROM]))
    def delete(self, key: bytes, end: bytes) -> None:
        before = self.states[self.machine.store.revision]
        kept = {
            k: v
            for k, v in before.items()
            if not (k == key if not end else k >= key and (end == ALL_FROM or k < end))
        }
        assert _do(self.machine, Delete(key, end)).deleted == len(before) - len(kept)
        self._became(kept)

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        revision = self.machine.store.revision - back
        if revision > self.compacted:
            _apply(self.machine, [Kind.COMPACT, revision])
            self.compacted = revision

    @invariant()
    def every_kept_revision_reads_as_it_was(self) -> None:
        for revision, state in self.states.items():
            if revision >= max(self.compacted, 1):
                found = self.machine.read(Range(b"\0", ALL_FROM, revision=revision))
                assert {kv.key: kv.value for kv in found.kvs} == state
                assert found.count == len(state)


TestModelledStore = ModelledStore.TestCase
TestModelledStore.settings = settings(max_examples=40, stateful_step_count=30)


def test_every_operation_of_a_transaction_tells_the_revision_that_it_saw() -> None:
    machine = _machine()
    _do(machine, Put(b"a", b""))
    nested = Txn([], [Range(b"a"), Put(b"c", b"")])
    result = _do(machine, Txn([], [Range(b"a"), Delete(b"none"), Put(b"b", b""), nested]))
    assert result.revision == 3
    assert [answer.revision for answer in result.responses] == [2, 2, 3, 3]
    assert [answer.revision for answer in result.responses[3].responses] == [3, 3]


K, OTHER = Put(b"k", b""), Put(b"l", b"")
DELETE, DELETE_ALL = Delete(b"k"), Delete(b"a", b"z")


@pytest.mark.parametrize(
    "operations",
    [
        [K, K],
        [K, DELETE],
        [DELETE, K],
        [DELETE_ALL, Txn([], [K])],
        [Txn([], [K]), DELETE_ALL],
        [Txn([], [DELETE]), Txn([], [], [K])],
        [Txn([], [K], [DELETE]), K],
        [Txn([], [OTHER], [DELETE_ALL]), K],
        [Txn([], [Txn([], [K])]), Txn([], [], [Txn([], [], [K])])],
        [Txn([], [K], [DELETE_ALL]), Txn([], [OTHER])],
    ],
)
def test_a_key_that_would_change_twice_in_a_revision_is_refused(operations: list[Any]) -> None:
    with pytest.raises(DuplicateKey):
        txn.check(Txn([], operations))
    with pytest.raises(DuplicateKey):
        txn.check(Txn([], [], operations))


@pytest.mark.parametrize(
    "operations",
    [
        [DELETE, DELETE_ALL, DELETE],
        [Txn([], [K], [DELETE_ALL])],
        [Txn([], [K], [K]), OTHER],
        [Txn([], [K, OTHER], [DELETE_ALL]), Put(b"z", b""), Delete(b"z1")],
        [Txn([], [Txn([], [K])], [Txn([], [DELETE], [K])])],
    ],
)
def test_what_cannot_happen_together_may_contradict(operations: list[Any]) -> None:
    txn.check(Txn([], operations))
