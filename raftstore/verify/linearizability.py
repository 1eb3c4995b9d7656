"""Linearizability of each key by search: a second opinion that knows nothing of revisions.

Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with the memoisation of Lowe,
"Testing for Linearizability" (2017): configurations (what is linearized, value of the key) that
were seen lead nowhere new. Linearizability is local, so keys are searched one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from raftstore.types import Delete, Op, Put, PutResult, Range, RangeResult, Result, Txn, TxnResult
from raftstore.verify.history import Call
from raftstore.verify.model import affects

MAX_CONFIGURATIONS = 50_000
"""Per key; a history that takes more is left to the replay by revision."""

Value = bytes | None
Step = tuple[Literal["see", "write", "exists"], Value]
"""See this value; write it (None: delete); see that there is one (or, with None, that not)."""


class Operation(NamedTuple):
    """What a call did to one key: one of `alternatives`; not answered, maybe nothing."""

    invoked_s: float
    returned_s: float
    alternatives: Sequence[Sequence[Step]]


def check(calls: Sequence[Call], keys: Sequence[bytes]) -> list[str]:
    """Keys whose answers no order explains, as far as the search goes."""
    problems = []
    for key in keys:
        operations = [*project(calls, key)]
        if search(operations) is False:
            problems.append(f"no order explains the {len(operations)} operations on {key!r}")
    return problems


def search(operations: Sequence[Operation], limit: int = MAX_CONFIGURATIONS) -> bool | None:
    """Whether some order explains them; None if `limit` configurations did not tell."""
    infinity = float("inf")
    done = sorted((o for o in operations if o.returned_s < infinity), key=lambda o: o.invoked_s)
    pending = sorted((o for o in operations if o.returned_s == infinity), key=lambda o: o.invoked_s)
    everything = (1 << len(done)) - 1
    start: tuple[int, Value] = (0, None)
    seen, stack = {start}, [start]
    while stack:
        linearized, value = stack.pop()
        if linearized & everything == everything:
            return True
        if len(seen) > limit:
            return None
        for number, operation in _possible(done, pending, linearized):
            for steps in operation.alternatives:
                reached = linearized | 1 << number, _after(steps, value)
                if reached[1] is not _IMPOSSIBLE and reached not in seen:
                    seen.add(reached)
                    stack.append(reached)
    return False


def _possible(
    done: Sequence[Operation], pending: Sequence[Operation], linearized: int
) -> Iterator[tuple[int, Operation]]:
    """Those that may come next: begun before any other that is left has returned.

    The one that returned first is last, so that it is tried first.
    """
    first = (~linearized & (linearized + 1)).bit_length() - 1
    earliest_s = float("inf")
    found: list[tuple[int, Operation]] = []
    for number in range(first, len(done)):
        operation = done[number]
        if operation.invoked_s > earliest_s:
            break
        if not linearized >> number & 1:
            found.append((number, operation))
            earliest_s = min(earliest_s, operation.returned_s)
    for number, operation in enumerate(pending, len(done)):
        if operation.invoked_s > earliest_s:
            break
        if not linearized >> number & 1:
            yield number, operation
    found.sort(key=lambda item: -item[1].returned_s)
    yield from (item for item in found if item[1].invoked_s <= earliest_s)


_IMPOSSIBLE = b"\0impossible"


def _after(steps: Sequence[Step], value: Value) -> Value:
    for kind, argument in steps:
        if kind == "write":
            value = argument
            continue
        exists_only = kind == "exists"
        same = (value is None) == (argument is None) if exists_only else value == argument
        if not same:
            return _IMPOSSIBLE
    return value


# ---- what calls did to a key


def project(calls: Sequence[Call], key: bytes) -> Iterator[Operation]:
    """The part of each call that concerns a key, if it says anything about it."""
    for call in calls:
        if call.serializable or call.outcome in ("failed", "refused"):
            continue
        if call.outcome == "ok":
            steps = [*_observed(call.op, call.result, key)]
            if steps:
                yield Operation(call.invoked_s, call.returned_s, [steps])
        else:
            written = [found for found in _possible_writes(call.op, key) if found]
            if written:
                yield Operation(call.invoked_s, float("inf"), written)


def _observed(op: Op, result: Result, key: bytes) -> Iterator[Step]:
    if isinstance(op, Txn):
        assert isinstance(result, TxnResult)
        if result.succeeded:
            yield from _compared(op, key)
        branch = op.success if result.succeeded else op.failure
        for inner, response in zip(branch, result.responses, strict=True):
            yield from _observed(inner, response, key)
    elif isinstance(op, Range):
        assert isinstance(result, RangeResult)
        if affects(key, op.key, op.range_end) and op == Range(op.key, op.range_end):
            found = [kv.value for kv in result.kvs if kv.key == key]
            yield "see", found[0] if found else None
    elif isinstance(op, Put) and op.key == key:
        assert isinstance(result, PutResult)
        if op.prev_kv:
            yield "see", result.prev_kv.value if result.prev_kv else None
        yield from _written(op, key)
    elif isinstance(op, Delete) and affects(key, op.key, op.range_end):
        if not op.range_end:
            yield "exists", b"" if getattr(result, "deleted", 0) else None
        yield "write", None


def _compared(txn: Txn, key: bytes) -> Iterator[Step]:
    for compare in txn.compare:
        equal = compare.op == "=" and not compare.range_end and compare.key == key
        if equal and compare.target == "value":
            yield "see", bytes(compare.value)
        elif equal and compare.target == "version" and compare.value == 0:
            yield "exists", None


def _possible_writes(op: Op, key: bytes) -> list[list[Step]]:
    """What an operation of unknown outcome may have written, one list for each way."""
    if isinstance(op, Txn):
        ways = []
        for branch, condition in ((op.success, [*_compared(op, key)]), (op.failure, [])):
            paths: list[list[Step]] = [condition]
            for inner in branch:
                inner_ways = _possible_writes(inner, key) or [[]]
                paths = [path + way for path in paths for way in inner_ways]
            ways += paths
        return ways
    return [written] if (written := [*_written(op, key)]) else []


def _written(op: Op, key: bytes) -> Iterator[Step]:
    if isinstance(op, Put) and op.key == key:
        if op.ignore_value:
            yield "exists", b""
        else:
            yield "write", op.value
    elif isinstance(op, Delete) and affects(key, op.key, op.range_end):
        yield "write", None
