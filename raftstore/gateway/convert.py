"""Between etcd's messages and the store's types. Headers of answers are filled in elsewhere."""

from __future__ import annotations

from typing import Any

from raftstore.errors import InvalidRequest, InvalidSortOption, KeyNotFound, TooManyOperations
from raftstore.gateway import protocol_pb2 as pb
from raftstore.types import (
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

MAX_TXN_OPERATIONS = 128
"""Per list of a transaction: the default of etcd's `--max-txn-ops`."""
SORT_ORDERS = ("", "ascend", "descend")
SORT_TARGETS = ("key", "version", "create", "mod", "value")
COMPARE_RESULTS = ("=", ">", "<", "!=")
COMPARE_TARGETS = {
    pb.Compare.VERSION: ("version", "version"),
    pb.Compare.CREATE: ("create", "create_revision"),
    pb.Compare.MOD: ("mod", "mod_revision"),
    pb.Compare.VALUE: ("value", "value"),
    pb.Compare.LEASE: ("lease", "lease"),
}


# ---- requests


def range_of(request: Any) -> Range:
    """Raises InvalidSortOption."""
    if request.sort_order >= len(SORT_ORDERS) or request.sort_target >= len(SORT_TARGETS):
        raise InvalidSortOption("no such order or target")
    return Range(
        request.key,
        request.range_end,
        max(0, request.revision),
        max(0, request.limit),
        request.keys_only,
        request.count_only,
        SORT_TARGETS[request.sort_target],  # type: ignore[arg-type]
        SORT_ORDERS[request.sort_order],  # type: ignore[arg-type]
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    )


def put_of(request: Any) -> Put:
    return Put(
        request.key,
        request.value,
        request.lease,
        request.prev_kv,
        request.ignore_value,
        request.ignore_lease,
    )


def delete_of(request: Any) -> Delete:
    return Delete(request.key, request.range_end, request.prev_kv)


def txn_of(request: Any) -> Txn:
    """Raises TooManyOperations, InvalidRequest."""
    if max(map(len, (request.compare, request.success, request.failure))) > MAX_TXN_OPERATIONS:
        raise TooManyOperations(f"more than {MAX_TXN_OPERATIONS} in one list")
    return Txn(
        [*map(_compare_of, request.compare)],
        [*map(_op_of, request.success)],
        [*map(_op_of, request.failure)],
    )


def _op_of(request: Any) -> Op:
    kind = request.WhichOneof("request")
    if kind not in _OPS:
        raise KeyNotFound("an operation of the transaction is empty")
    op: Op = _OPS[kind](getattr(request, kind))
    return op


_OPS: dict[str, Any] = {
    "request_range": range_of,
    "request_put": put_of,
    "request_delete_range": delete_of,
    "request_txn": txn_of,
}


def _compare_of(request: Any) -> Compare:
    if request.target not in COMPARE_TARGETS or request.result >= len(COMPARE_RESULTS):
        raise InvalidRequest("unknown comparison")
    target, field = COMPARE_TARGETS[request.target]
    op: Any = COMPARE_RESULTS[request.result]
    return Compare(request.key, target, op, getattr(request, field), request.range_end)  # type: ignore[arg-type]


# ---- answers


def key_value(kv: KeyValue) -> pb.KeyValue:
    return pb.KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


def range_response(result: RangeResult) -> pb.RangeResponse:
    return pb.RangeResponse(kvs=map(key_value, result.kvs), more=result.more, count=result.count)


def put_response(result: PutResult) -> pb.PutResponse:
    return pb.PutResponse(prev_kv=key_value(result.prev_kv) if result.prev_kv else None)


def delete_response(result: DeleteResult) -> pb.DeleteRangeResponse:
    return pb.DeleteRangeResponse(deleted=result.deleted, prev_kvs=map(key_value, result.prev_kvs))


def txn_response(result: TxnResult) -> pb.TxnResponse:
    return pb.TxnResponse(succeeded=result.succeeded, responses=map(_response_op, result.responses))


def _response_op(result: Result) -> pb.ResponseOp:
    for kind, name, convert in _RESPONSES:
        if isinstance(result, kind):
            response = convert(result)
            response.header.SetInParent()
            if kind is not TxnResult:  # etcd leaves the header of a nested one empty
                response.header.revision = result.revision
            return pb.ResponseOp(**{name: response})
    raise TypeError(f"no answer for {result!r}")


_RESPONSES: tuple[tuple[type, str, Any], ...] = (
    (RangeResult, "response_range", range_response),
    (PutResult, "response_put", put_response),
    (DeleteResult, "response_delete_range", delete_response),
    (TxnResult, "response_txn", txn_response),
)


def event(happened: Event) -> pb.Event:
    return pb.Event(
        type=pb.Event.DELETE if happened.type == "delete" else pb.Event.PUT,
        kv=key_value(happened.kv),
        prev_kv=key_value(happened.prev_kv) if happened.prev_kv else None,
    )
