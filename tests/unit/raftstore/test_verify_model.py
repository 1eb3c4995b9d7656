"""The model of the checks and the store give the same answers, each from its own code."""

from __future__ import annotations

import random

import pytest

from raftstore import wire
from raftstore.errors import Compacted, KeyNotFound
from raftstore.mvcc.machine import Machine
from raftstore.simulation.operations import Operations
from raftstore.types import Delete, Op, Put, Range, Txn
from raftstore.verify.history import Applied
from raftstore.verify.model import Refused, evaluate


@pytest.mark.parametrize("seed", range(20))
def test_random_operations_mean_the_same_to_the_store_and_to_the_model(seed: int) -> None:
    print(f"seed {seed}")
    applied = Applied()
    machine = Machine(lambda revision, events: applied.add("A", revision, events, 0.0))
    operations = Operations(1, random.Random(seed))
    for _ in range(300):
        op, states = operations.next(), applied.states()
        before = machine.store.revision
        try:
            result = _ask(machine, op)
        except (KeyNotFound, Compacted):
            with pytest.raises(Refused):
                evaluate(op, states, before)
            continue
        expected, events = evaluate(op, states, before)
        assert result == expected, op
        assert events == applied.events.get(before + 1, [])
        operations.heard(op, result)


def _ask(machine: Machine, op: Op) -> object:
    packed = wire.encode_op(op)
    if isinstance(op, Range):
        return wire.decode_result(op, wire.unpack(wire.pack(machine.query(packed))))
    [answer] = machine.apply(wire.pack([[0, 0, 0, wire.pack(packed)]]))
    return wire.decode_result(op, wire.answer(wire.unpack(answer)))


def test_inside_of_a_transaction_each_operation_tells_the_revision_so_far() -> None:
    op = Txn([], [Range(b"a"), Delete(b"none"), Put(b"a", b"1"), Range(b"a")])
    result, _ = evaluate(op, [{}, {}], 1)
    assert [response.revision for response in result.responses] == [1, 1, 2, 2]
    assert result.revision == 2
    assert _ask(Machine(lambda revision, events: None), op) == result
