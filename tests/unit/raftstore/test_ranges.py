"""What a range may ask for, told by the rules of etcd 3.4."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore import errors, wire
from raftstore.errors import (
    DuplicateKey,
    EmptyKey,
    InvalidRequest,
    InvalidSortOption,
    KeyNotFound,
    LeaseExists,
    LeaseProvided,
    LeaseTtlTooLarge,
    TooManyOperations,
    ValueProvided,
)
from raftstore.mvcc.machine import Machine, Request
from raftstore.types import ALL_FROM, Compare, KeyValue, Op, Put, Range, Txn
from raftstore.wire import Kind


def _do(machine: Machine, op: Op) -> Any:
    operation = wire.pack(wire.encode_op(op))
    [answer] = machine.apply(wire.pack([Request(0, 0, 0, operation)]))
    return wire.decode_result(op, wire.answer(wire.unpack(answer)))


def _filled() -> Machine:
    """b was created first and changed last; c has the greatest value."""
    machine = Machine(lambda revision, events: None)
    for key, value in [(b"b", b"1"), (b"a", b"2"), (b"c", b"3"), (b"a", b"0"), (b"b", b"2")]:
        _do(machine, Put(key, value))
    return machine


def _keys(machine: Machine, **options: Any) -> bytes:
    kvs = machine.read(Range(b"a", b"z", **options)).kvs
    return b"".join(kv.key for kv in kvs)


@pytest.mark.parametrize(
    ("target", "ascending"),
    [("key", b"abc"), ("version", b"cab"), ("create", b"bac"), ("mod", b"cab"), ("value", b"abc")],
)
def test_a_range_is_sorted_by_any_target(target: str, ascending: bytes) -> None:
    machine = _filled()
    assert _keys(machine, sort_target=target, sort_order="ascend") == ascending
    assert _keys(machine, sort_target=target) == ascending, "no order means ascending"


def test_a_range_descends_and_the_limit_comes_last() -> None:
    machine = _filled()
    assert _keys(machine, sort_order="descend") == b"cba"
    assert _keys(machine, sort_target="create", sort_order="descend", limit=2) == b"ca"
    limited = machine.read(Range(b"a", b"z", sort_order="descend", limit=2))
    assert limited.more
    assert limited.count == 3


def test_bounds_on_revisions_choose_keys_but_do_not_change_the_count() -> None:
    machine = _filled()
    assert _keys(machine, min_mod_revision=5) == b"ab"
    assert _keys(machine, max_mod_revision=4) == b"c"
    assert _keys(machine, min_create_revision=3, max_create_revision=3) == b"a"
    assert machine.read(Range(b"a", b"z", min_mod_revision=5)).count == 3


def test_the_past_is_sorted_and_bounded_like_the_present() -> None:
    machine = _filled()
    assert _keys(machine, revision=4, sort_target="mod", sort_order="descend") == b"cab"
    assert _keys(machine, revision=4, max_mod_revision=3, limit=1) == b"a"


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(InvalidSortOption):
        _keys(_filled(), sort_order="sideways")


def test_a_put_can_keep_the_value_or_the_lease() -> None:
    machine = _filled()
    machine.leases.grant(60, 7)
    _do(machine, Put(b"b", b"", lease=7, ignore_value=True))
    assert machine.store.keys.get(b"b") == KeyValue(b"b", b"2", 2, 7, 3, 7)
    _do(machine, Put(b"b", b"new", ignore_lease=True))
    assert machine.store.keys.get(b"b") == KeyValue(b"b", b"new", 2, 8, 4, 7)
    assert machine.leases.keys(7) == [b"b"]


@pytest.mark.parametrize(
    ("put", "error"),
    [
        (Put(b"none", b"", ignore_value=True), KeyNotFound),
        (Put(b"none", b"x", ignore_lease=True), KeyNotFound),
        (Put(b"a", b"x", ignore_value=True), ValueProvided),
        (Put(b"a", b"x", lease=1, ignore_lease=True), LeaseProvided),
        (Put(b"", b"x"), EmptyKey),
    ],
)
def test_a_put_that_contradicts_itself_or_the_store_changes_nothing(
    put: Put, error: type[Exception]
) -> None:
    machine = _filled()
    for op in (put, Txn([], [Put(b"other", b"1"), put])):
        with pytest.raises(error):
            _do(machine, op)
    assert machine.store.revision == 6


def test_a_comparison_of_a_range_holds_if_it_holds_for_every_key_there() -> None:
    machine = _filled()

    def holds(*compare: Any) -> bool:
        succeeded: bool = _do(machine, Txn([Compare(*compare)], [Range(b"a")])).succeeded
        return succeeded

    assert holds(b"a", "version", "<", 3, b"z")
    assert not holds(b"a", "version", "=", 2, b"z")
    assert holds(b"c", "create", "=", 4, ALL_FROM)
    assert holds(b"x", "version", "=", 0, b"z"), "an empty range is like a missing key"
    assert not holds(b"x", "value", "!=", b"1", b"z")


def test_errors_keep_their_kind_over_the_wire() -> None:
    for kind in (EmptyKey, KeyNotFound, DuplicateKey, TooManyOperations, LeaseExists):
        carried = wire.unpack(wire.failure(kind("why")))
        with pytest.raises(kind, match="why"):
            wire.answer(carried)


def test_a_lease_is_refused_by_name_when_it_exists_or_lives_too_long() -> None:
    machine = _filled()
    machine.leases.grant(60, 7)
    with pytest.raises(LeaseExists):
        machine.leases.grant(60, 7)
    with pytest.raises(LeaseTtlTooLarge):
        machine.leases.grant(9_000_000_001, 8)


def test_an_operation_of_an_older_log_is_still_understood() -> None:
    """Fields were added at the end, so shorter forms mean their defaults."""
    assert wire.decode_op([Kind.PUT, b"k", b"v", 0, False]) == Put(b"k", b"v")
    assert wire.decode_op([Kind.RANGE, b"k", b"", 0, 0, False, False]) == Range(b"k")


def test_a_malformed_field_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        wire.decode_op([Kind.RANGE, b"k", b"", 0, 0, False, False, 1])


bounds = st.integers(0, 8)


@given(
    st.sampled_from(["key", "version", "create", "mod", "value"]),
    st.sampled_from(["", "ascend", "descend"]),
    st.integers(0, 4),
    st.tuples(bounds, bounds, bounds, bounds),
    st.integers(0, 6),
)
def test_selection_agrees_with_the_plain_definition(
    target: str, order: str, limit: int, low_high: tuple[int, int, int, int], revision: int
) -> None:
    machine = _filled()
    everything = machine.read(Range(b"a", b"z", revision=revision)).kvs
    field = {"create": "create_revision", "mod": "mod_revision"}.get(target, target)
    expected = sorted(everything, key=lambda kv: getattr(kv, field), reverse=order == "descend")
    mod_low, mod_high, create_low, create_high = low_high
    expected = [
        kv
        for kv in expected
        if mod_low <= kv.mod_revision <= (mod_high or 99)
        and create_low <= kv.create_revision <= (create_high or 99)
    ]
    answer = machine.read(
        Range(b"a", b"z", revision, limit, False, False, target, order, *low_high)  # type: ignore[arg-type]
    )
    assert answer.kvs == expected[: limit or None]
    assert answer.count == len(everything)


def test_every_error_is_known_to_the_wire() -> None:
    assert errors.decode(errors.encode(ValueProvided("x"))).__class__ is ValueProvided
