"""What each operation means, in the plainest terms: a dictionary and loops.

Written from etcd's documentation of its API (`api_guarantees`, `rpc.proto`), apart from the store's
own code, so that a mistake there is not repeated here. Leases are not part of it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from raftstore.types import (
    ALL_FROM,
    Compare,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    Op,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from raftstore.verify.history import State

_OPERATORS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt}
_FIELDS = {
    "key": "key",
    "version": "version",
    "create": "create_revision",
    "mod": "mod_revision",
    "value": "value",
    "lease": "lease",
}


class Refused(Exception):
    """The store has to refuse this operation in this state."""


def evaluate(op: Op, states: Sequence[State], revision: int) -> tuple[Result, list[Event]]:
    """Result and events of `op` on the state of `revision`. Raises Refused.

    `states[r]` is the state of revision r. What is written becomes the next revision.
    """
    run = _Run(states, revision)
    return run.execute(op, run.decide(op)), run.events


def affects(key: bytes, start: bytes, range_end: bytes) -> bool:
    """Whether `key` is what the pair `start`, `range_end` names."""
    if not range_end:
        return key == start
    return key >= start and (range_end == ALL_FROM or key < range_end)


class _Run:
    """One operation: comparisons see the state before it, ranges also what it wrote.

    Each part tells the revision that there is after it: the next one once something was written.
    """

    def __init__(self, states: Sequence[State], revision: int) -> None:
        self._states, self._revision = states, revision
        self._before = states[revision]
        self._state = dict(self._before)
        self.events: list[Event] = []

    def decide(self, op: Op) -> Any:
        """Which branches are taken: None, or (succeeded, decisions of the branch)."""
        if not isinstance(op, Txn):
            return None
        succeeded = all(self._holds(compare) for compare in op.compare)
        return succeeded, [self.decide(o) for o in (op.success if succeeded else op.failure)]

    def execute(self, op: Op, decision: Any) -> Result:
        if isinstance(op, Txn):
            succeeded, decisions = decision
            branch = op.success if succeeded else op.failure
            done = [self.execute(o, d) for o, d in zip(branch, decisions, strict=True)]
            return TxnResult(self._so_far, succeeded, done)
        if isinstance(op, Range):
            return self._range(op)
        return self._put(op) if isinstance(op, Put) else self._delete(op)

    @property
    def _so_far(self) -> int:
        """What an operation tells: the next revision, once something was written."""
        return self._revision + 1 if self.events else self._revision

    def _holds(self, compare: Compare) -> bool:
        found = self._among(self._before, compare.key, compare.range_end)
        if not found and compare.target == "value":
            return False
        holds, field = _OPERATORS[compare.op], _FIELDS[compare.target]
        there = found or [KeyValue(compare.key, b"", 0, 0, 0)]
        return all(holds(getattr(kv, field), compare.value) for kv in there)

    def _put(self, op: Put) -> PutResult:
        old = self._state.get(op.key)
        if old is None and (op.ignore_value or op.ignore_lease):
            raise Refused("there is nothing to keep")
        value = old.value if old and op.ignore_value else op.value
        lease = old.lease if old and op.ignore_lease else op.lease
        now = self._revision + 1
        created, version = (old.create_revision, old.version + 1) if old else (now, 1)
        new = KeyValue(op.key, value, created, now, version, lease)
        self._state[op.key] = new
        self.events.append(Event("put", new))
        return PutResult(self._so_far, old if op.prev_kv else None)

    def _delete(self, op: Delete) -> DeleteResult:
        found = self._among(self._state, op.key, op.range_end)
        for kv in found:
            del self._state[kv.key]
            gone = KeyValue(kv.key, b"", 0, self._revision + 1, 0)
            self.events.append(Event("delete", gone))
        return DeleteResult(self._so_far, len(found), found if op.prev_kv else [])

    def _range(self, op: Range) -> RangeResult:
        state = self._states[op.revision] if op.revision else self._state
        found = self._among(state, op.key, op.range_end)
        if op.count_only:
            return RangeResult(self._so_far, [], False, len(found))
        chosen = [kv for kv in found if _within(kv, op)]
        if op.sort_target != "key" or op.sort_order == "descend":
            field = operator.attrgetter(_FIELDS[op.sort_target])
            chosen.sort(key=field, reverse=op.sort_order == "descend")
        more = 0 < op.limit < len(chosen)
        chosen = chosen[: op.limit] if more else chosen
        if op.keys_only:
            chosen = [kv._replace(value=b"") for kv in chosen]
        return RangeResult(self._so_far, chosen, more, len(found))

    @staticmethod
    def _among(state: State, key: bytes, range_end: bytes) -> list[KeyValue]:
        return [state[k] for k in sorted(state) if affects(k, key, range_end)]


def _within(kv: KeyValue, op: Range) -> bool:
    """0 is no bound."""
    return (
        kv.mod_revision >= op.min_mod_revision
        and kv.create_revision >= op.min_create_revision
        and (not op.max_mod_revision or kv.mod_revision <= op.max_mod_revision)
        and (not op.max_create_revision or kv.create_revision <= op.max_create_revision)
    )
