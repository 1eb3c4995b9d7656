"""Transactions: compare, then execute one branch, all in one revision.

Everything that can be refused is refused by `plan`, before anything is changed: a transaction
happens wholly or not at all, and the same on every member.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Sequence
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
MAX_DEPTH = 8

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
    _check_branches(txn)


def _size(txn: Txn, depth: int) -> int:
    if depth == 0:
        raise InvalidRequest(f"transactions nested deeper than {MAX_DEPTH}")
    nested = (op for op in (*txn.success, *txn.failure) if isinstance(op, Txn))
    own = len(txn.compare) + len(txn.success) + len(txn.failure)
    return own + sum(_size(inner, depth - 1) for inner in nested)


def _check_branches(txn: Txn) -> None:
    for compare in txn.compare:
        _check_compare(compare)
    for branch in (txn.success, txn.failure):
        for op in branch:
            if isinstance(op, Txn):
                _check_branches(op)
            else:
                check_one(op)
        _check_writes(branch)


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


def _check_writes(branch: Sequence[Op]) -> None:
    """A key may change once in a revision: no two puts, and no put with a delete, of one key."""
    if len(branch) == 1 and not isinstance(branch[0], Txn):
        return
    puts: set[bytes] = set()
    for key in _puts(branch):
        if key in puts:
            raise DuplicateKey("duplicate key in transaction")
        puts.add(key)
    for op in _deletes(branch):
        if any(in_range(key, op.key, op.range_end) for key in puts):
            raise DuplicateKey("duplicate key in transaction")


def _puts(branch: Sequence[Op]) -> Iterator[bytes]:
    """Keys put by a branch. Of a nested transaction only one branch runs: their union counts."""
    for op in branch:
        if isinstance(op, Put):
            yield op.key
        elif isinstance(op, Txn):
            yield from {*_puts(op.success), *_puts(op.failure)}


def _deletes(branch: Sequence[Op]) -> Iterator[Delete]:
    for op in branch:
        if isinstance(op, Delete):
            yield op
        elif isinstance(op, Txn):
            yield from _deletes((*op.success, *op.failure))


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
        if self.events:
            self._store.commit([event.kv for event in self.events])
        return self._stamped(result, self._store.revision)

    def run_one(self, op: Put | Delete, leases: Collection[int]) -> PutResult | DeleteResult:
        """A single write, without the cost of a plan.

        Raises InvalidRequest, LeaseNotFound, KeyNotFound.
        """
        check_one(op)
        if isinstance(op, Put):
            _check_put(self._store, op, leases)
        result = self._put(op) if isinstance(op, Put) else self._delete(op)
        if self.events:
            self._store.commit([event.kv for event in self.events])
        return result._replace(revision=self._store.revision)

    def _run(self, plan: Plan) -> TxnResult:
        return TxnResult(0, plan.succeeded, [self._execute(op) for op in plan.operations])

    def _execute(self, op: Range | Put | Delete | Plan) -> Result:
        if isinstance(op, Put):
            return self._put(op)
        if isinstance(op, Delete):
            return self._delete(op)
        return self._store.range(op) if isinstance(op, Range) else self._run(op)

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
        return PutResult(0, previous if op.prev_kv else None)

    def _delete(self, op: Delete) -> DeleteResult:
        found = self._store.keys.current(op.key, op.range_end)
        for kv in found:
            self._record(Event("delete", KeyValue(kv.key, b"", 0, self._revision, 0), kv))
        return DeleteResult(0, len(found), found if op.prev_kv else ())

    def _record(self, event: Event) -> None:
        self._store.keys.add(event.kv)
        self.events.append(event)

    def _stamped(self, result: TxnResult, revision: int) -> TxnResult:
        """Every result tells the revision after the transaction (as in etcd's headers)."""
        responses: list[Result] = []
        for response in result.responses:
            if isinstance(response, TxnResult):
                responses.append(self._stamped(response, revision))
            else:
                responses.append(response._replace(revision=revision))
        return TxnResult(revision, result.succeeded, responses)
