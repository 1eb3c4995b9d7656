"""The buckets of etcd's database and the parts of our state (see `Machine.dump`). Pure.

Keys of the bucket `key` are revisions: main, `_`, sub, and `t` behind a deletion; all numbers are
big-endian. Values are etcd's protobuf messages. Sessions of clients and the key that signs tokens
have no place in etcd: they end with a restoration, as etcd's own tokens do.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from google.protobuf.message import DecodeError

from raftstore import tokens
from raftstore.gateway import protocol_pb2 as pb
from raftstore.types import Alarm, AlarmKind, KeyValue, Permission, PermissionKind

Item = tuple[bytes, bytes]
KEYS, META, LEASES, ALARMS = b"key", b"meta", b"lease", b"alarm"
AUTH, USERS, ROLES, CLUSTER = b"auth", b"authUsers", b"authRoles", b"cluster"
EMPTY = b"members", b"members_removed"
"""A restored store has new members, so those of the old one are not saved."""
SCHEDULED, FINISHED = b"scheduledCompactRev", b"finishedCompactRev"
CLUSTER_VERSION = b"3.4.0"
KINDS: tuple[PermissionKind, ...] = "read", "write", "readwrite"
ALARM_KINDS: dict[int, AlarmKind] = {pb.NOSPACE: "nospace", pb.CORRUPT: "corrupt"}
_REVISION = struct.Struct(">QcQ")
_NUMBER = struct.Struct(">Q")
_DELETED = b"t"


class InvalidBackup(Exception):
    """A file is no backup of etcd or of this store, or it is damaged; the message says why."""


# ---- ours to etcd's


def key_items(records: Sequence[KeyValue]) -> Iterator[Item]:
    """Of one revision; the position of a record is its sub-revision."""
    for sub, kv in enumerate(records):
        key = _REVISION.pack(kv.mod_revision, b"_", sub)
        if kv.version:
            yield key, _key_value(kv)
        else:
            yield key + _DELETED, pb.KeyValue(key=kv.key).SerializeToString()


def _key_value(kv: KeyValue) -> bytes:
    message = pb.KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )
    packed: bytes = message.SerializeToString()
    return packed


def buckets(head: Sequence[Any]) -> dict[bytes, list[Item]]:
    """All but `key`, each with its items in order."""
    _, compacted, (_, leases), _, auth, alarms = head
    enabled, revision, _, users, roles = auth
    found = {
        ALARMS: [(_alarm(*alarm), b"") for alarm in alarms],
        AUTH: [(b"authEnabled", bytes([enabled])), (b"authRevision", _NUMBER.pack(revision))],
        CLUSTER: [(b"clusterVersion", CLUSTER_VERSION)],
        LEASES: [(_NUMBER.pack(lease_id), _lease(lease_id, ttl)) for lease_id, ttl in leases],
        META: [(b"consistent_index", _NUMBER.pack(1)), *_compactions(compacted)],
        ROLES: [(name.encode(), _role(name, granted)) for name, granted in roles],
        USERS: [(name.encode(), _user(name, hashed, held)) for name, hashed, held, _ in users],
    }
    return {name: sorted(items) for name, items in found.items()} | {name: [] for name in EMPTY}


def _compactions(revision: int) -> list[Item]:
    packed = _REVISION.pack(revision, b"_", 0)
    return [(FINISHED, packed), (SCHEDULED, packed)] if revision else []


def _alarm(member_id: int, kind: str) -> bytes:
    number = next(number for number, name in ALARM_KINDS.items() if name == kind)
    packed: bytes = pb.AlarmMember(memberID=member_id, alarm=number).SerializeToString()  # type: ignore[arg-type]
    return packed


def _lease(lease_id: int, ttl_s: int) -> bytes:
    packed: bytes = pb.LeaseRecord(ID=lease_id, TTL=ttl_s).SerializeToString()
    return packed


def _user(name: str, password: bytes, roles: Sequence[str]) -> bytes:
    options = pb.UserAddOptions(no_password=not password)
    record = pb.UserRecord(name=name.encode(), password=password, roles=roles, options=options)
    packed: bytes = record.SerializeToString()
    return packed


def _role(name: str, granted: Iterable[Sequence[Any]]) -> bytes:
    permissions = [
        pb.Permission(permType=KINDS.index(kind), key=key, range_end=range_end)  # type: ignore[arg-type]
        for kind, key, range_end in sorted(granted, key=lambda one: tuple(one[1:]))
    ]
    record = pb.RoleRecord(name=name.encode(), keyPermission=permissions)
    packed: bytes = record.SerializeToString()
    return packed


# ---- etcd's to ours


def revisions(items: Iterable[Item]) -> Iterator[list[KeyValue]]:
    """The records of each revision, from the items of `key`. Raises InvalidBackup."""
    for _, of_revision in groupby(items, key=lambda item: item[0][: _NUMBER.size]):
        yield [_record(key, value) for key, value in of_revision]


def revision_of(key: bytes) -> int:
    """The main revision that a key of the bucket `key` names. Raises InvalidBackup."""
    if len(key) not in (_REVISION.size, _REVISION.size + 1):
        raise InvalidBackup(f"{key!r} is no revision")
    main, separator, _ = _REVISION.unpack_from(key)
    if separator != b"_" or key[_REVISION.size :] not in (b"", _DELETED):
        raise InvalidBackup(f"{key!r} is no revision")
    return int(main)


def _record(key: bytes, value: bytes) -> KeyValue:
    revision = revision_of(key)
    kv = _parsed(pb.KeyValue, value)
    if not kv.key:
        raise InvalidBackup(f"revision {revision} has a record without a key")
    if key.endswith(_DELETED) and len(key) > _REVISION.size:
        return KeyValue(kv.key, b"", 0, revision, 0)
    if kv.mod_revision != revision or kv.version < 1 or not 0 < kv.create_revision <= revision:
        raise InvalidBackup(f"revision {revision} has a record of another one")
    return KeyValue(kv.key, kv.value, kv.create_revision, revision, kv.version, kv.lease)


def compacted(meta: dict[bytes, bytes]) -> tuple[int, int]:
    """Up to where a compaction has finished, and up to where one was asked for."""
    finished, scheduled = (
        revision_of(meta[name]) if name in meta else 0 for name in (FINISHED, SCHEDULED)
    )
    return finished, max(finished, scheduled)


def leases(items: Iterable[Item]) -> list[Any]:
    """New ids count on from a random place: whoever was granted a lease after the backup was made
    does not find somebody else's under its id."""
    found = [_parsed(pb.LeaseRecord, value) for _, value in items]
    return [1 + secrets.randbits(48), [[lease.ID, lease.TTL] for lease in found]]


def auth(settings: dict[bytes, bytes], users: Iterable[Item], roles: Iterable[Item]) -> list[Any]:
    enabled = settings.get(b"authEnabled") == b"\x01"
    revision = int.from_bytes(settings.get(b"authRevision", b"")) or 1
    secret = secrets.token_bytes(tokens.SECRET_BYTES) if enabled else b""
    found_users = [_parsed(pb.UserRecord, value) for _, value in users]
    found_roles = [_parsed(pb.RoleRecord, value) for _, value in roles]
    return [
        enabled,
        revision,
        secret,
        [[_text(user.name), user.password, sorted(user.roles), 0] for user in found_users],
        [[_text(role.name), [*map(_permission, role.keyPermission)]] for role in found_roles],
    ]


def alarms(items: Iterable[Item]) -> list[Alarm]:
    found = [_parsed(pb.AlarmMember, key) for key, _ in items]
    return [
        Alarm(alarm.memberID, ALARM_KINDS[alarm.alarm])
        for alarm in found
        if alarm.alarm in ALARM_KINDS
    ]


def _permission(permission: Any) -> Permission:
    if permission.permType >= len(KINDS):
        raise InvalidBackup("a role has a permission of an unknown kind")
    return Permission(KINDS[permission.permType], permission.key, permission.range_end)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise InvalidBackup(f"{name!r} is no name of a user or role") from None


def _parsed(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise InvalidBackup(f"a record is damaged: {error}") from None
