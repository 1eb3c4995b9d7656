"""The replicated state machine: batches of client requests in, packed answers out.

Deterministic: the same batches in the same order give the same state and the same answers on
every member. An error is an answer like any other; a refused request changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from raftstore import wire
from raftstore.errors import InvalidRequest, StoreError
from raftstore.mvcc import alarms, txn
from raftstore.mvcc.alarms import Alarms
from raftstore.mvcc.auth import Auth
from raftstore.mvcc.leases import LeaseTable
from raftstore.mvcc.permissions import Need, needs
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
    """Store, leases, sessions, alarms, users. `on_revision(revision, events)` hears of writes."""

    def __init__(self, on_revision: Callable[[int, Sequence[Event]], None]) -> None:
        self.store = MvccStore()
        self.leases = LeaseTable()
        self.sessions = Sessions()
        self.alarms = Alarms()
        self.auth = Auth()
        self.on_lease: Callable[[int, bool], None] = lambda lease_id, exists: None
        self._on_revision = on_revision
        self._executors: dict[int, Callable[..., Any]] = {
            Kind.PUT: self._write,
            Kind.DELETE: self._write,
            Kind.TXN: self._txn,
            Kind.COMPACT: self._compact,
            Kind.LEASE_GRANT: self._grant,
            Kind.LEASE_REVOKE: self._revoke,
            Kind.ALARM: self._alarm,
            Kind.AUTH: self._auth,
        }
        self._questions: dict[int, Callable[..., Any]] = {
            Kind.RANGE: self._read_wire,
            Kind.TXN: self._read_wire,
            Kind.LEASES: lambda operation: list(self.leases),
            Kind.ALARMS: lambda operation: self.alarms.all(),
            Kind.AUTH_STATE: lambda operation: self._auth_state(*operation[1:]),
        }

    def apply(self, batch: bytes) -> list[bytes]:
        """Execute a packed list of requests; one packed answer each, in order."""
        return [self._answer(*request) for request in wire.unpack(batch)]

    def _answer(self, client: int, sequence: int, acknowledged: int, packed: bytes) -> bytes:
        """To a request with these fields."""
        try:
            operation = wire.unpack(packed)
            if client == NO_CLIENT:
                return self._execute(operation)
            if operation[0] in (Kind.SESSION_OPEN, Kind.SESSION_CLOSE):
                return self._session(client, operation[0] == Kind.SESSION_OPEN)
            session = self.sessions.enter(client, sequence, acknowledged)
        except StoreError as error:
            return wire.failure(error)
        answer = session.answers.get(sequence)
        if answer is None:
            answer = self._execute(operation)
            session.record(sequence, answer)
        return answer

    def _session(self, client: int, opening: bool) -> bytes:
        (self.sessions.open if opening else self.sessions.close)(client)
        return wire.success(None)

    def _execute(self, operation: Sequence[Any]) -> bytes:
        try:
            return wire.success(self._executed(operation))
        except StoreError as error:
            return wire.failure(error)

    def _executed(self, operation: Sequence[Any]) -> Any:
        if operation[0] == Kind.AS_USER:
            operation = self._permitted(operation)
        execute = self._executors.get(operation[0])
        if execute is None:
            raise InvalidRequest(f"unknown operation {operation[0]}")
        if operation[0] != Kind.ALARM:
            self.alarms.check(operation)
        return execute(operation)

    def _permitted(self, operation: Sequence[Any]) -> Sequence[Any]:
        """The operation inside an envelope, if the user named there may do it."""
        _, user, revision, inner = operation
        kind = inner[0]
        if kind == Kind.AUTH or (
            kind == Kind.AUTH_STATE and not self._asks_about_self(user, inner)
        ):
            self.auth.check_administrator(user, revision)
        elif kind in (Kind.RANGE, Kind.PUT, Kind.DELETE, Kind.TXN):
            wanted = needs(wire.decode_op(inner), self.leases.keys)
            self.auth.check(user, revision, wanted)
        elif kind == Kind.LEASE_REVOKE:
            deleted = (Need("write", key) for key in self.leases.keys(inner[1]))
            self.auth.check(user, revision, deleted)
        permitted: Sequence[Any] = inner
        return permitted

    def _asks_about_self(self, user: str, operation: Sequence[Any]) -> bool:
        what, name = operation[1:]
        return (
            what == "status"
            or (what == "user" and name == user)
            or (what == "role" and self.auth.has_role(user, name))
        )

    def _write(self, operation: Sequence[Any]) -> PutResult | DeleteResult:
        op = wire.decode_op(operation)
        assert isinstance(op, Put | Delete)
        transaction = Transaction(self.store)
        result = transaction.run_one(op, self.leases)
        if transaction.events:
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
        if transaction.events:
            self._tell(transaction.events)
        return result

    def _tell(self, events: Sequence[Event]) -> None:
        self.leases.follow(events)
        self._on_revision(self.store.revision, events)

    def _compact(self, operation: Sequence[Any]) -> int:
        self.store.compact(operation[1])
        return self.store.revision

    def _grant(self, operation: Sequence[Any]) -> list[int]:
        lease_id = self.leases.grant(operation[1], operation[2])
        self.on_lease(lease_id, True)
        return [lease_id, operation[1], self.store.revision]

    def _alarm(self, operation: Sequence[Any]) -> int:
        _, action, member_id, kind = operation
        change = self.alarms.raise_one if action == "raise" else self.alarms.clear
        change(alarms.alarm(member_id, kind))
        return self.store.revision

    def _auth(self, operation: Sequence[Any]) -> int:
        self.auth.change(*operation[1:])
        return self.store.revision

    def _auth_state(self, what: str, name: str) -> Any:
        """Questions about users and roles; `name` where one is asked about."""
        auth = self.auth
        if what == "user":
            return sorted(auth.user(name).roles)
        if what == "role":
            return auth.role(name)
        if what == "password":
            return [auth.user(name).password, auth.revision, auth.secret]
        if what == "token":
            return [auth.enabled, auth.revision, auth.secret]
        answers = {"status": auth.status, "users": auth.users(), "roles": auth.roles()}
        if what not in answers:
            raise InvalidRequest(f"unknown question about users: {what}")
        return answers[what]

    def _revoke(self, operation: Sequence[Any]) -> int:
        """Delete the lease and its keys, in one revision."""
        lease_id = operation[1]
        self.leases.ttl_s(lease_id)
        deletes = [Delete(key) for key in self.leases.keys(lease_id)]
        self.leases.revoke(lease_id)
        self._commit(Plan(True, deletes))
        self.on_lease(lease_id, False)
        return self.store.revision

    def query(self, operation: Sequence[Any]) -> Any:
        """Answer a question from the state as it is. Raises StoreError."""
        if operation[0] == Kind.AS_USER:
            operation = self._permitted(operation)
        self.alarms.check(operation)
        return self._questions[operation[0]](operation)

    def _read_wire(self, operation: Sequence[Any]) -> Any:
        request = wire.decode_op(operation)
        assert isinstance(request, Range | Txn)
        return self.read(request)

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
        parts = self.leases, self.sessions, self.auth
        dumped = [part.dump() for part in parts]
        return [store.revision, store.compacted_revision, *dumped, self.alarms.all()]

    def load(self, head: Sequence[Any], records: Sequence[Sequence[KeyValue]]) -> None:
        """Become the state that `head` (see `dump`) and the records of each revision describe."""
        revision, compacted, leases, sessions, *later = head
        self.store = MvccStore.restore(revision, compacted, records)
        live = self.store.keys.current(b"\0", ALL_FROM)
        self.leases.load(leases, ((kv.key, kv.lease) for kv in live if kv.lease))
        self.sessions.load(sessions)
        if later:
            self.auth.load(later[0])
            self.alarms.load(later[1])
