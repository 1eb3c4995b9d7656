"""What the store's users send and receive. Tuples: cheap to make, immutable, sent as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

Target = Literal["version", "create", "mod", "value", "lease"]
CompareOp = Literal["=", "!=", "<", ">"]
SortTarget = Literal["key", "version", "create", "mod", "value"]
SortOrder = Literal["", "ascend", "descend"]
EventType = Literal["put", "delete"]
AlarmKind = Literal["nospace", "corrupt"]
PermissionKind = Literal["read", "write", "readwrite"]

ALL_FROM = b"\0"
"""As a `range_end`: every key from `key` on."""


class KeyValue(NamedTuple):
    """One version of a key. `version` counts puts since creation; 0 marks a deletion."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class Compare(NamedTuple):
    """`target` of `key` `op` `value`. A missing key has version, create, mod and lease 0.

    Comparing the value of a missing key is false, whatever the operator (as in etcd). With a
    `range_end` it must hold for every key of the range that exists; an empty range is compared
    like a missing key.
    """

    key: bytes
    target: Target
    op: CompareOp
    value: bytes | int
    range_end: bytes = b""


class Range(NamedTuple):
    """Keys in `[key, range_end)`; only `key` if `range_end` is empty. 0 = latest, no limit.

    The bounds on revisions choose among the keys found, sorting comes next, the limit last. The
    result's `count` is that of the whole range, whatever is chosen (as in etcd).
    """

    key: bytes
    range_end: bytes = b""
    revision: int = 0
    limit: int = 0
    keys_only: bool = False
    count_only: bool = False
    sort_target: SortTarget = "key"
    sort_order: SortOrder = ""
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class Put(NamedTuple):
    """`ignore_value`, `ignore_lease`: keep what the key, which must exist, has already."""

    key: bytes
    value: bytes
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class Delete(NamedTuple):
    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


class Txn(NamedTuple):
    """If every compare holds, `success` is executed, else `failure`; all in one revision."""

    compare: Sequence[Compare]
    success: Sequence[Op]
    failure: Sequence[Op] = ()


Op = Range | Put | Delete | Txn


class RangeResult(NamedTuple):
    """`revision`: the store's when it was read. `count`: all keys in range, whatever the limit."""

    revision: int
    kvs: Sequence[KeyValue]
    more: bool
    count: int  # type: ignore[assignment]  # the usual name; tuple.count is not used


class PutResult(NamedTuple):
    revision: int
    prev_kv: KeyValue | None = None


class DeleteResult(NamedTuple):
    revision: int
    deleted: int
    prev_kvs: Sequence[KeyValue] = ()


class TxnResult(NamedTuple):
    """`responses`: one result per operation of the branch that was taken, in order."""

    revision: int
    succeeded: bool
    responses: Sequence[Result]


Result = RangeResult | PutResult | DeleteResult | TxnResult


class Event(NamedTuple):
    """`kv` of a deletion has only its key and the revision of the deletion."""

    type: EventType
    kv: KeyValue
    prev_kv: KeyValue | None = None


class WatchBatch(NamedTuple):
    """All events of whole revisions up to `revision`; without events it tells progress."""

    revision: int
    events: Sequence[Event]


class Lease(NamedTuple):
    """`ttl_s`: seconds left (-1: no such lease any more); `granted_s`: seconds asked for."""

    id: int
    ttl_s: int
    granted_s: int
    keys: Sequence[bytes] = ()


class MemberStatus(NamedTuple):
    """One member's view. Indexes are of the Raft log, `db_size_bytes` is approximate."""

    name: str
    address: str
    leader: str
    term: int
    revision: int
    raft_index: int
    applied_index: int
    db_size_bytes: int
    healthy: bool
    member_id: int = 0
    leader_id: int = 0
    """0: none is known."""


class Member(NamedTuple):
    """One member as the others know it; without a name it has never started."""

    id: int
    name: str
    peer_addresses: Sequence[str]
    client_addresses: Sequence[str]
    learner: bool
    client_urls: Sequence[str] = ()
    """Where it serves etcd's protocol, if it does."""


class Members(NamedTuple):
    """Who takes part, in the order of their ids."""

    cluster_id: int
    members: Sequence[Member]


class AddedMember(NamedTuple):
    """A member that was added just now, and all there are."""

    member: Member
    members: Members


class HashKv(NamedTuple):
    """Of one member: members that agree on what they keep up to `revision` have equal hashes.

    Comparable only between answers with the same `compact_revision`.
    """

    hash: int
    compact_revision: int
    revision: int


class Alarm(NamedTuple):
    """Raised until cleared: `nospace` refuses what grows the store, `corrupt` everything."""

    member_id: int
    kind: AlarmKind


class Permission(NamedTuple):
    """On `[key, range_end)`, or on `key` alone if `range_end` is empty."""

    kind: PermissionKind
    key: bytes
    range_end: bytes = b""


class AuthStatus(NamedTuple):
    """`revision` changes with every change of users, roles and permissions."""

    enabled: bool
    revision: int


class Store(Protocol):
    """The store as its users see it, whether remote (`StoreClient`) or in this process."""

    async def execute(self, op: Op, *, serializable: bool = False) -> Any:
        """The result of any operation; the calls below are short forms."""
        ...

    async def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        serializable: bool = False,
    ) -> RangeResult:
        """Linearizable unless `serializable` (then maybe stale, from any member)."""
        ...

    async def put(
        self, key: bytes, value: bytes, *, lease: int = 0, prev_kv: bool = False
    ) -> PutResult: ...

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult: ...

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult: ...

    async def compact(self, revision: int) -> None:
        """Forget superseded versions up to `revision`."""
        ...

    def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Sequence[EventType] = (),
    ) -> AsyncGenerator[WatchBatch, None]:
        """Changes from `start_revision` on (0: from now), each revision once and in order.

        Events of a type in `filters` are left out. The first batch may be empty: it tells that
        the watch stands. Raises Compacted.
        """
        ...

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease: ...

    async def lease_revoke(self, lease_id: int) -> None: ...

    async def lease_keep_alive(self, lease_id: int) -> Lease: ...

    async def lease_time_to_live(self, lease_id: int) -> Lease: ...

    async def status(self) -> list[MemberStatus]: ...
