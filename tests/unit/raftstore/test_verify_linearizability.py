"""The search for an order finds one if there is one, and only then."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest

from raftstore.types import (
    Compare,
    Delete,
    DeleteResult,
    KeyValue,
    Op,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from raftstore.verify import linearizability
from raftstore.verify.history import Call
from raftstore.verify.linearizability import Operation, Step, search

KEY = b"k"


def _call(op: Op, began_s: float, ended_s: float, result: Any) -> Call:
    return Call(0, op, began_s, ended_s, "ok", result)


def _put(value: bytes, began_s: float, ended_s: float) -> Call:
    return _call(Put(KEY, value), began_s, ended_s, PutResult(0))


def _read(value: bytes | None, began_s: float, ended_s: float) -> Call:
    kvs = [] if value is None else [KeyValue(KEY, value, 0, 0, 0)]
    return _call(Range(KEY), began_s, ended_s, RangeResult(0, kvs, False, len(kvs)))


def _swap(old: bytes, new: bytes, began_s: float, succeeded: bool) -> Call:
    op = Txn([Compare(KEY, "value", "=", old)], [Put(KEY, new)])
    result = TxnResult(0, succeeded, [PutResult(0)] if succeeded else [])
    return _call(op, began_s, began_s + 1, result)


def test_reads_that_overlap_a_write_may_see_it_or_not() -> None:
    calls = [_put(b"1", 0, 5), _read(None, 1, 2), _read(b"1", 3, 4)]
    assert linearizability.check(calls, [KEY]) == []


@pytest.mark.parametrize(
    "calls",
    [
        [_put(b"1", 0, 1), _read(None, 2, 3)],
        [_put(b"1", 0, 5), _read(b"1", 1, 2), _read(None, 3, 4)],
        [_put(b"1", 0, 1), _put(b"2", 2, 3), _read(b"1", 4, 5)],
        [_put(b"1", 0, 1), _swap(b"1", b"2", 2, True), _swap(b"1", b"3", 4, True)],
        [_call(Delete(KEY), 0, 1, DeleteResult(0, 1, []))],
    ],
)
def test_a_history_without_an_order_is_reported(calls: list[Call]) -> None:
    assert "no order explains" in linearizability.check(calls, [KEY])[0]


def test_an_unknown_write_may_take_effect_late_or_never() -> None:
    unknown = Call(1, Put(KEY, b"9"), 0, 1, "unknown")
    reads = [_read(None, 2, 3), _read(b"9", 4, 5)]
    assert linearizability.check([unknown, *reads], [KEY]) == []
    assert linearizability.check([unknown, *reads[:1]], [KEY]) == []
    assert linearizability.check([unknown, *reads[::-1]], [KEY]) == []
    assert linearizability.check([unknown, *reads, _read(None, 6, 7)], [KEY]) != []


def test_a_history_that_takes_too_long_is_left_open() -> None:
    pending = [Operation(0, float("inf"), [[("write", b"%d" % n)]]) for n in range(30)]
    wrong = Operation(1, 2, [[("see", b"never")]])
    assert search([*pending, wrong], limit=1000) is None


@pytest.mark.parametrize("seed", range(40))
def test_the_search_agrees_with_trying_every_order(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(50):
        history = [_random_operation(rng) for _ in range(rng.randint(1, 5))]
        assert search(history) is _by_trying(history)


def _random_operation(rng: random.Random) -> Operation:
    began_s = rng.randint(0, 10)
    ended_s = rng.choice([began_s + rng.randint(1, 6), float("inf")])
    value = rng.choice([None, b"1", b"2"])
    kinds: list[list[Step]] = [[("see", value)], [("write", value)], [("exists", value)]]
    return Operation(began_s, ended_s, [rng.choice(kinds)])


def _by_trying(history: Sequence[Operation]) -> bool:
    numbers = range(len(history))
    must = {n for n in numbers if history[n].returned_s < float("inf")}
    for size in range(len(must), len(history) + 1):
        for order in itertools.permutations(numbers, size):
            if must <= set(order) and _fits([history[n] for n in order]):
                return True
    return False


def _fits(order: Sequence[Operation]) -> bool:
    value: bytes | None = None
    for position, operation in enumerate(order):
        if any(later.returned_s < operation.invoked_s for later in order[position + 1 :]):
            return False
        ((kind, argument),) = operation.alternatives[0]
        if kind == "write":
            value = argument
        elif (kind == "see" and value != argument) or (
            kind == "exists" and (value is None) != (argument is None)
        ):
            return False
    return True
