"""The replicated state machine: batches of client requests in, packed answers out.

Deterministic: the same batches in the same order give the same state and the same answers on
every member. An error is an answer like any other; a refused request changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from raftstore import wire
from raftstore.errors import InvalidRequest, StoreError
from raftstore.mvcc import txn
from raftstore.mvcc.leases import LeaseTable
from raftstore.mvcc.sessions import Sessions
from raftstore.mvcc.store import MvccStore
from raftstore.mvcc.txn import Plan, Transaction
from raftstore.types import (
    ALL_FROM,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    Put,
    PutResult,
    Range,
    Txn,
    TxnResult,
)
from raftstore.wire import Kind

NO_CLIENT = 0
"""The client of requests that members make themselves; they have no session."""


class Request(NamedTuple):
    """One operation of a batch: see `sessions` for the numbers."""

    client: int
    sequence: int
    acknowledged: int
    operation: bytes
    """Packed: `[kind, fields...]`."""


class Machine:
    """Store, leases and sessions. `on_revision(revision, events)` hears of every write."""

    def __init__(self, on_revision: Callable[[int, Sequence[Event]], None]) -> None:
        self.store = MvccStore()
        self.leases = LeaseTable()
        self.sessions = Sessions()
        self.on_lease: Callable[[int, bool], None] = lambda lease_id, exists: None
        self._on_revision = on_revision
        self._executors: dict[int, Callable[..., Any]] = {
            Kind.PUT: self._write,
            Kind.DELETE: self._write,
            Kind.TXN: self._txn,
            Kind.COMPACT: self._compact,
            Kind.LEASE_GRANT: self._grant,
            Kind.LEASE_REVOKE: self._revoke,
        }

    def apply(self, batch: bytes) -> list[bytes]:
        """Execute a packed list of requests; one packed answer each, in order."""
        return [self._answer(Request(*request)) for request in wire.unpack(batch)]

    def _answer(self, request: Request) -> bytes:
        try:
            return self._once(request)
        except StoreError as error:
            return wire.failure(error)

    def _once(self, request: Request) -> bytes:
        operation = wire.unpack(request.operation)
        if request.client == NO_CLIENT:
            return self._execute(operation)
        if operation[0] in (Kind.SESSION_OPEN, Kind.SESSION_CLOSE):
            return self._session(request.client, operation[0] == Kind.SESSION_OPEN)
        session = self.sessions.enter(request.client, request.sequence, request.acknowledged)
        answer = session.answers.get(request.sequence)
        if answer is None:
            answer = self._execute(operation)
            session.record(request.sequence, answer)
        return answer

    def _session(self, client: int, opening: bool) -> bytes:
        (self.sessions.open if opening else self.sessions.close)(client)
        return wire.success(None)

    def _execute(self, operation: Sequence[Any]) -> bytes:
        try:
            execute = self._executors.get(operation[0])
            if execute is None:
                raise InvalidRequest(f"unknown operation {operation[0]}")
            return wire.success(execute(operation))
        except StoreError as error:
            return wire.failure(error)

    def _write(self, operation: Sequence[Any]) -> PutResult | DeleteResult:
        op = wire.decode_op(operation)
        assert isinstance(op, Put | Delete)
        transaction = Transaction(self.store)
        result = transaction.run_one(op, self.leases)
        self._tell(transaction.events)
        return result

    def _txn(self, operation: Sequence[Any]) -> TxnResult:
        request = wire.decode_op(operation)
        assert isinstance(request, Txn)
        txn.check(request)
        return self._commit(txn.plan(self.store, request, self.leases))

    def _commit(self, plan: Plan) -> TxnResult:
        transaction = Transaction(self.store)
        result = transaction.run(plan)
        self._tell(transaction.events)
        return result

    def _tell(self, events: Sequence[Event]) -> None:
        if events:
            self.leases.follow(events)
            self._on_revision(self.store.revision, events)

    def _compact(self, operation: Sequence[Any]) -> int:
        self.store.compact(operation[1])
        return self.store.revision

    def _grant(self, operation: Sequence[Any]) -> list[int]:
        lease_id = self.leases.grant(operation[1], operation[2])
        self.on_lease(lease_id, True)
        return [lease_id, operation[1]]

    def _revoke(self, operation: Sequence[Any]) -> int:
        """Delete the lease and its keys, in one revision."""
        lease_id = operation[1]
        self.leases.ttl_s(lease_id)
        deletes = [Delete(key) for key in self.leases.keys(lease_id)]
        self.leases.revoke(lease_id)
        self._commit(Plan(True, deletes))
        self.on_lease(lease_id, False)
        return self.store.revision

    def read(self, request: Range | Txn) -> Any:
        """Answer a range, or a transaction that only reads, from the state as it is."""
        if isinstance(request, Range):
            txn.check_one(request)
            return self.store.range(request)
        txn.check(request)
        return Transaction(self.store).run(txn.plan(self.store, request, ()))

    def dump(self) -> list[Any]:
        """Everything but the records: the head of a snapshot."""
        store = self.store
        return [store.revision, store.compacted_revision, self.leases.dump(), self.sessions.dump()]

    def load(self, head: Sequence[Any], records: Sequence[Sequence[KeyValue]]) -> None:
        """Become the state that `head` (see `dump`) and the records of each revision describe."""
        revision, compacted, leases, sessions = head
        self.store = MvccStore.restore(revision, compacted, records)
        live = self.store.keys.current(b"\0", ALL_FROM)
        self.leases.load(leases, ((kv.key, kv.lease) for kv in live if kv.lease))
        self.sessions.load(sessions)


def check(operation: Sequence[Any]) -> None:
    """Refuse, before it is replicated, what every member would refuse. Raises InvalidRequest."""
    kind = operation[0] if operation else None
    if kind in (Kind.PUT, Kind.DELETE, Kind.TXN):
        request = wire.decode_op(operation)
        txn.check(request if isinstance(request, Txn) else Txn((), (request,)))
    elif kind in _FIELDS:
        fields = operation[1:]
        if len(fields) != _FIELDS[kind] or not all(isinstance(f, int) for f in fields):
            raise InvalidRequest("malformed operation")
    else:
        raise InvalidRequest(f"unknown operation {kind}")


_FIELDS = {
    Kind.COMPACT: 1,
    Kind.LEASE_GRANT: 2,
    Kind.LEASE_REVOKE: 1,
    Kind.SESSION_OPEN: 0,
    Kind.SESSION_CLOSE: 0,
}
