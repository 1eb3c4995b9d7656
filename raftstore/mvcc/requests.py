"""The forms of operations: what is refused before it is replicated, or asked, at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftstore import wire
from raftstore.errors import InvalidRequest
from raftstore.mvcc import txn
from raftstore.mvcc.auth import Auth
from raftstore.types import Txn
from raftstore.wire import Kind

_GROWING = (Kind.PUT, Kind.TXN, Kind.LEASE_GRANT)


def grows(operation: Sequence[Any]) -> bool:
    """Whether an operation adds to what the store holds, so that a quota concerns it."""
    kind = operation[0]
    if kind == Kind.AS_USER:
        return grows(operation[3])
    if kind == Kind.TXN:
        return any(op[0] in _GROWING and grows(op) for op in (*operation[2], *operation[3]))
    return kind in _GROWING


def check(operation: Sequence[Any]) -> None:
    """Refuse, before it is replicated, what every member would refuse. Raises InvalidRequest."""
    kind = operation[0] if operation else None
    if kind == Kind.AS_USER:
        check(_inner(operation))
    elif kind in (Kind.PUT, Kind.DELETE, Kind.TXN):
        request = wire.decode_op(operation)
        if isinstance(request, Txn):
            txn.check(request)
        else:
            txn.check_one(request)
    elif kind == Kind.AUTH:
        Auth().check_form(operation[1] if len(operation) > 1 else "", operation[2:])
    elif kind in _FIELDS:
        _check_fields(operation)
    else:
        raise InvalidRequest(f"unknown operation {kind}")


def check_question(operation: Sequence[Any]) -> None:
    """Refuse what is no question to `Machine.query`. Raises InvalidRequest."""
    kind = operation[0] if operation else None
    if kind == Kind.AS_USER:
        check_question(_inner(operation))
    elif kind in (Kind.RANGE, Kind.TXN):
        request = wire.decode_op(operation)
        if isinstance(request, Txn) and not txn.is_read_only(request):
            raise InvalidRequest("not a read")
    elif kind in _QUESTION_FIELDS:
        _check_fields(operation)
    else:
        raise InvalidRequest("not a read")


def _inner(operation: Sequence[Any]) -> Sequence[Any]:
    inner = _check_fields(operation)[3]
    if not inner or inner[0] == Kind.AS_USER:
        raise InvalidRequest("malformed request of a user")
    found: Sequence[Any] = inner
    return found


def _check_fields(operation: Sequence[Any]) -> Sequence[Any]:
    kinds = {**_FIELDS, **_QUESTION_FIELDS}[operation[0]]
    fields = operation[1:]
    if len(fields) != len(kinds) or not all(map(isinstance, fields, kinds)):
        raise InvalidRequest("malformed operation")
    return operation


_FIELDS: dict[int, tuple[type, ...]] = {
    Kind.COMPACT: (int,),
    Kind.LEASE_GRANT: (int, int),
    Kind.LEASE_REVOKE: (int,),
    Kind.SESSION_OPEN: (),
    Kind.SESSION_CLOSE: (),
    Kind.ALARM: (str, int, str),
    Kind.AS_USER: (str, int, list),
}
_QUESTION_FIELDS: dict[int, tuple[type, ...]] = {
    Kind.LEASES: (),
    Kind.ALARMS: (),
    Kind.AUTH_STATE: (str, str),
}
