"""Transactions: compare, then execute one branch, all in one revision.

Everything that can be refused is refused by `plan`, before anything is changed: a transaction
happens wholly or not at all, and the same on every member.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from raftstore.errors import (
    DuplicateKey,
    EmptyKey,
    InvalidRequest,
    InvalidSortOption,
    KeyNotFound,
    LeaseNotFound,
    LeaseProvided,
    TooManyOperations,
    ValueProvided,
)
from raftstore.mvcc.selection import SORT_KEYS, SORT_ORDERS
from raftstore.mvcc.store import MvccStore
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
    Result,
    Txn,
    TxnResult,
)

MAX_OPERATIONS = 10_000
MAX_DEPTH = 64

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_TARGETS: dict[str, Callable[[KeyValue], bytes | int]] = {
    "version": operator.attrgetter("version"),
    "create": operator.attrgetter("create_revision"),
    "mod": operator.attrgetter("mod_revision"),
    "lease": operator.attrgetter("lease"),
    "value": operator.attrgetter("value"),
}


class Plan(NamedTuple):
    """A transaction whose compares have been decided; nested ones are plans too."""

    succeeded: bool
    operations: Sequence[Range | Put | Delete | Plan]


def is_read_only(txn: Txn) -> bool:
    """No branch writes, so it need not be replicated."""
    return all(
        isinstance(op, Range) or (isinstance(op, Txn) and is_read_only(op))
        for op in (*txn.success, *txn.failure)
    )


def check(txn: Txn) -> None:
    """Refuse what is malformed whatever the store holds. Raises InvalidRequest."""
    if _size(txn, MAX_DEPTH) > MAX_OPERATIONS:
        raise TooManyOperations(f"more than {MAX_OPERATIONS} operations in a transaction")
    _check_nested(txn)


def _size(txn: Txn, depth: int) -> int:
    if depth == 0:
        raise InvalidRequest(f"transactions nested deeper than {MAX_DEPTH}")
    nested = (op for op in (*txn.success, *txn.failure) if isinstance(op, Txn))
    own = len(txn.compare) + len(txn.success) + len(txn.failure)
    return own + sum(_size(inner, depth - 1) for inner in nested)


def check_one(op: Range | Put | Delete) -> None:
    """Refuse a single operation that contradicts itself. Raises InvalidRequest."""
    if not op.key:
        raise EmptyKey("key must not be empty")
    if isinstance(op, Put):
        if op.ignore_value and op.value:
            raise ValueProvided("a value is given and ignore_value is set")
        if op.ignore_lease and op.lease:
            raise LeaseProvided("a lease is given and ignore_lease is set")
    elif isinstance(op, Range) and (
        op.sort_target not in SORT_KEYS or op.sort_order not in SORT_ORDERS
    ):
        raise InvalidSortOption(f"cannot sort by {op.sort_target!r} {op.sort_order!r}")


def _check_compare(compare: Compare) -> None:
    if not compare.key:
        raise EmptyKey("key must not be empty")
    if compare.op not in _OPERATORS or compare.target not in _TARGETS:
        raise InvalidRequest(f"unknown comparison: {compare.target!r} {compare.op!r}")
    if isinstance(compare.value, bytes) != (compare.target == "value"):
        raise InvalidRequest(f"{compare.target} is compared with a value of the wrong type")


Writes = tuple[set[bytes], list[Delete]]
"""Keys that are put, and what is deleted."""


def _check_nested(txn: Txn) -> Writes:
    """Of a transaction only one branch runs: what both do counts, and they may do the opposite."""
    for compare in txn.compare:
        _check_compare(compare)
    puts, deletes = _check_branch(txn.success)
    more_puts, more_deletes = _check_branch(txn.failure)
    return puts | more_puts, deletes + more_deletes


def _check_branch(branch: Sequence[Op]) -> Writes:
    """A key may change once in a revision: no two puts, and no put with a delete, of one key."""
    owners: dict[bytes, int] = {}
    deletes: list[tuple[int, Delete]] = []
    for number, op in enumerate(branch):
        puts, more = _check_op(op)
        if not owners.keys().isdisjoint(puts):
            raise DuplicateKey("duplicate key in transaction")
        owners.update(dict.fromkeys(puts, number))
        deletes += ((number, delete) for delete in more)
    if owners and deletes:
        _check_apart(owners, deletes)
    return set(owners), [delete for _, delete in deletes]


def _check_op(op: Op) -> Writes:
    if isinstance(op, Txn):
        return _check_nested(op)
    check_one(op)
    if isinstance(op, Put):
        return {op.key}, []
    return set(), [op] if isinstance(op, Delete) else []


def _check_apart(owners: dict[bytes, int], deletes: Sequence[tuple[int, Delete]]) -> None:
    """No operation deletes what another one, its owner, puts. In O(n log n)."""
    keys = sorted(owners)
    others = [len(keys)] * len(keys)  # for each key the next one of another owner
    for at in range(len(keys) - 2, -1, -1):
        same = owners[keys[at]] == owners[keys[at + 1]]
        others[at] = others[at + 1] if same else at + 1
    for number, delete in deletes:
        first, end = _span(keys, delete)
        if first < end and (owners[keys[first]] != number or others[first] < end):
            raise DuplicateKey("duplicate key in transaction")


def _span(keys: Sequence[bytes], delete: Delete) -> tuple[int, int]:
    """Which of the sorted keys it deletes."""
    if not delete.range_end:
        return bisect_left(keys, delete.key), bisect_right(keys, delete.key)
    last = len(keys) if delete.range_end == ALL_FROM else bisect_left(keys, delete.range_end)
    return bisect_left(keys, delete.key), last


def in_range(key: bytes, start: bytes, range_end: bytes) -> bool:
    """Whether `key` is what the pair `start`, `range_end` names."""
    if not range_end:
        return key == start
    return start <= key and (range_end == ALL_FROM or key < range_end)


def plan(store: MvccStore, txn: Txn, leases: Collection[int]) -> Plan:
    """Decide all compares on the state as it is. Raises what would refuse the transaction."""
    succeeded = all(_holds(store, compare) for compare in txn.compare)
    operations: list[Range | Put | Delete | Plan] = []
    for op in txn.success if succeeded else txn.failure:
        if isinstance(op, Txn):
            operations.append(plan(store, op, leases))
            continue
        if isinstance(op, Range):
            store.check_readable(op.revision)
        elif isinstance(op, Put):
            _check_put(store, op, leases)
        operations.append(op)
    return Plan(succeeded, operations)


def _check_put(store: MvccStore, put: Put, leases: Collection[int]) -> None:
    if put.lease and put.lease not in leases:
        raise LeaseNotFound(f"lease {put.lease} does not exist")
    if (put.ignore_value or put.ignore_lease) and store.keys.get(put.key) is None:
        raise KeyNotFound("there is nothing to keep: the key does not exist")


_MISSING = KeyValue(b"", b"", 0, 0, 0)


def _holds(store: MvccStore, compare: Compare) -> bool:
    found = store.keys.current(compare.key, compare.range_end)
    if not found:
        if compare.target == "value":
            return False
        found = [_MISSING]
    holds, target = _OPERATORS[compare.op], _TARGETS[compare.target]
    return all(holds(target(kv), compare.value) for kv in found)


class Transaction:
    """Executes one plan. `events` is what happened, in the order of sub-revisions."""

    def __init__(self, store: MvccStore) -> None:
        self._store = store
        self._revision = store.revision + 1
        self.events: list[Event] = []

    def run(self, plan: Plan) -> TxnResult:
        result = self._run(plan)
        self._commit()
        return result

    def run_one(self, op: Put | Delete, leases: Collection[int]) -> PutResult | DeleteResult:
        """A single write, without the cost of a plan.

        Raises InvalidRequest, LeaseNotFound, KeyNotFound.
        """
        check_one(op)
        result: PutResult | DeleteResult
        if isinstance(op, Put):
            _check_put(self._store, op, leases)
            result = self._put(op)
        else:
            result = self._delete(op)
        self._commit()
        return result

    def _commit(self) -> None:
        if self.events:
            self._store.commit(tuple(event.kv for event in self.events))

    def _run(self, plan: Plan) -> TxnResult:
        responses = [self._execute(op) for op in plan.operations]
        return TxnResult(self._so_far, plan.succeeded, responses)

    @property
    def _so_far(self) -> int:
        """The revision that an operation tells: the transaction's once something was written."""
        return self._revision if self.events else self._store.revision

    def _execute(self, op: Range | Put | Delete | Plan) -> Result:
        if isinstance(op, Put):
            return self._put(op)
        if isinstance(op, Delete):
            return self._delete(op)
        if isinstance(op, Range):
            found = self._store.range(op, committed=bool(self.events))
            return found._replace(revision=self._so_far)
        return self._run(op)

    def _put(self, op: Put) -> PutResult:
        previous = self._store.keys.get(op.key)
        created = previous.create_revision if previous else self._revision
        version = previous.version + 1 if previous else 1
        value, lease = op.value, op.lease
        if previous and (op.ignore_value or op.ignore_lease):
            value = previous.value if op.ignore_value else value
            lease = previous.lease if op.ignore_lease else lease
        record = KeyValue(op.key, value, created, self._revision, version, lease)
        self._record(Event("put", record, previous))
        return PutResult(self._revision, previous if op.prev_kv else None)

    def _delete(self, op: Delete) -> DeleteResult:
        found = self._store.keys.current(op.key, op.range_end)
        for kv in found:
            self._record(Event("delete", KeyValue(kv.key, b"", 0, self._revision, 0), kv))
        return DeleteResult(self._so_far, len(found), found if op.prev_kv else ())

    def _record(self, event: Event) -> None:
        self._store.keys.add(event.kv)
        self.events.append(event)
