"""Users, roles and permissions, told by the rules of etcd 3.4."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore import passwords, tokens, wire
from raftstore.errors import (
    InvalidAuthManagement,
    InvalidAuthToken,
    InvalidRequest,
    PermissionDenied,
    PermissionNotGranted,
    RoleExists,
    RoleNotFound,
    RoleNotGranted,
    RootRoleMissing,
    RootUserMissing,
    UserEmpty,
    UserExists,
    UserNotFound,
)
from raftstore.mvcc.machine import Machine
from raftstore.mvcc.permissions import Need, covers
from raftstore.state import ReplicatedState
from raftstore.testing import MemoryStore
from raftstore.types import ALL_FROM, Compare, Delete, Op, Permission, Put, Range, Txn
from raftstore.wire import Kind


async def _secured() -> MemoryStore:
    """root, and ann who reads `r*` and writes `w*`."""
    store = MemoryStore()
    await store.auth_change("user_add", "root", b"hash")
    await store.auth_change("user_grant_role", "root", "root")
    await store.auth_change("user_add", "ann", b"hash")
    await store.auth_change("role_add", "some")
    await store.role_grant("some", "read", b"r", b"s")
    await store.role_grant("some", "write", b"w", b"x")
    await store.auth_change("user_grant_role", "ann", "some")
    await store.auth_change("enable", b"secret")
    return store


async def _as(store: MemoryStore, user: str, op: Op, revision: int = 0) -> Any:
    envelope = [Kind.AS_USER, user, revision, wire.encode_op(op)]
    reads = isinstance(op, Range)
    return await (store.query(envelope) if reads else store.command(envelope))


def run(body: Callable[[MemoryStore], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(await _secured())

    asyncio.run(main())


@pytest.mark.parametrize(
    "op",
    [
        Range(b"r1"),
        Range(b"r", b"s"),
        Put(b"w1", b""),
        Delete(b"w", b"x"),
        Txn([Compare(b"r1", "version", "=", 0)], [Put(b"w1", b"")], [Range(b"r2")]),
    ],
)
def test_a_user_may_do_what_a_role_permits(op: Op) -> None:
    async def body(store: MemoryStore) -> None:
        await _as(store, "ann", op)
        await _as(store, "root", op)

    run(body)


@pytest.mark.parametrize(
    "op",
    [
        Range(b"w1"),
        Range(b"r", ALL_FROM),
        Put(b"r1", b""),
        Put(b"w1", b"", prev_kv=True),
        Delete(b"w", b"y"),
        Txn([Compare(b"w1", "version", "=", 0)], [Put(b"w1", b"")]),
        Txn([], [], [Txn([], [Put(b"r1", b"")])]),
    ],
)
def test_a_user_may_do_nothing_else(op: Op) -> None:
    async def body(store: MemoryStore) -> None:
        with pytest.raises(PermissionDenied):
            await _as(store, "ann", op)
        assert (await store.range(b"\0", ALL_FROM)).count == 0

    run(body)


def test_nobody_and_strangers_are_told_apart() -> None:
    async def body(store: MemoryStore) -> None:
        with pytest.raises(UserEmpty):
            await _as(store, "", Range(b"r"))
        with pytest.raises(PermissionDenied):
            await _as(store, "bob", Range(b"r"))

    run(body)


def test_a_put_with_a_lease_needs_what_its_revocation_would_delete() -> None:
    async def body(store: MemoryStore) -> None:
        await store.lease_grant(60, 7)
        await store.put(b"other", b"", lease=7)
        with pytest.raises(PermissionDenied):
            await _as(store, "ann", Put(b"w1", b"", lease=7))
        with pytest.raises(PermissionDenied):
            await store.command([Kind.AS_USER, "ann", 0, [Kind.LEASE_REVOKE, 7]])
        await store.command([Kind.AS_USER, "root", 0, [Kind.LEASE_REVOKE, 7]])

    run(body)


def test_only_root_changes_users_but_everybody_may_look_at_himself() -> None:
    async def body(store: MemoryStore) -> None:
        with pytest.raises(PermissionDenied):
            await store.command([Kind.AS_USER, "ann", 0, [Kind.AUTH, "user_add", "eve", b""]])
        with pytest.raises(PermissionDenied):
            await store.query([Kind.AS_USER, "ann", 0, [Kind.AUTH_STATE, "user", "root"]])
        roles = await store.query([Kind.AS_USER, "ann", 0, [Kind.AUTH_STATE, "user", "ann"]])
        assert roles == ["some"]
        await store.query([Kind.AS_USER, "ann", 0, [Kind.AUTH_STATE, "role", "some"]])

    run(body)


def test_a_token_outlives_changes_of_roles_and_ends_with_its_password() -> None:
    async def body(store: MemoryStore) -> None:
        revision = (await store.auth_status()).revision
        await _as(store, "ann", Range(b"r"), revision)
        await store.auth_change("role_add", "another")
        await _as(store, "ann", Range(b"r"), revision)
        await store.auth_change("user_change_password", "ann", b"new")
        with pytest.raises(InvalidAuthToken):
            await _as(store, "ann", Range(b"r"), revision)
        revision = (await store.auth_status()).revision
        await _as(store, "ann", Range(b"r"), revision)
        await store.auth_change("user_delete", "ann")
        with pytest.raises(InvalidAuthToken):
            await _as(store, "ann", Range(b"r"), revision)

    run(body)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("user_delete", "root"), InvalidAuthManagement),
        (("user_revoke_role", "root", "root"), InvalidAuthManagement),
        (("role_delete", "root"), InvalidAuthManagement),
        (("user_add", "ann", b""), UserExists),
        (("user_add", "", b""), UserEmpty),
        (("user_delete", "bob"), UserNotFound),
        (("user_change_password", "bob", b""), UserNotFound),
        (("user_grant_role", "ann", "none"), RoleNotFound),
        (("user_revoke_role", "ann", "none"), RoleNotGranted),
        (("role_add", "some"), RoleExists),
        (("role_delete", "none"), RoleNotFound),
        (("role_revoke_permission", "some", b"r", b""), PermissionNotGranted),
        (("role_grant_permission", "some", "execute", b"r", b""), InvalidRequest),
        (("user_add", "bob"), InvalidRequest),
        (("no_such_change",), InvalidRequest),
    ],
)
def test_changes_that_make_no_sense_change_nothing(change: Any, error: type[Exception]) -> None:
    async def body(store: MemoryStore) -> None:
        before = await store.auth_status()
        with pytest.raises(error):
            await store.auth_change(*change)
        assert await store.auth_status() == before

    run(body)


def test_authentication_is_required_only_once_root_is_there() -> None:
    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RootUserMissing):
            await store.auth_change("enable", b"")
        await store.auth_change("user_add", "root", b"")
        with pytest.raises(RootRoleMissing):
            await store.auth_change("enable", b"")
        await _as(store, "", Put(b"k", b"v"))

    asyncio.run(main())


def test_a_deleted_role_is_taken_from_its_users() -> None:
    async def body(store: MemoryStore) -> None:
        await store.auth_change("role_delete", "some")
        assert await store.user_roles("ann") == []
        with pytest.raises(RoleNotFound):
            await store.role_permissions("some")

    run(body)


def test_users_and_alarms_survive_a_snapshot() -> None:
    async def body(store: MemoryStore) -> None:
        await store.alarm_raise(5, "nospace")
        old: Machine = store._machine
        state = ReplicatedState()
        state.machine.load(wire.unpack(wire.pack(old.dump())), [])
        assert state.machine.auth.dump() == old.auth.dump()
        assert state.machine.alarms.all() == old.alarms.all() != []
        assert state.machine.auth.role("some") == await store.role_permissions("some")

    run(body)


def test_a_snapshot_from_before_there_were_users_still_loads() -> None:
    machine = Machine(lambda revision, events: None)
    head = machine.dump()[:4]
    machine.load(head, [])
    assert machine.auth.status.enabled is False


keys = st.integers(0, 6).map(lambda n: bytes([97 + n]))
ends = st.one_of(st.just(b""), st.just(ALL_FROM), keys)


@given(st.lists(st.tuples(keys, ends), max_size=4), keys, ends)
def test_permissions_add_up_as_sets_of_keys(granted: Any, key: bytes, end: bytes) -> None:
    universe = [bytes([97 + n]) + tail for n in range(8) for tail in (b"", b"\0", b"m")]

    def members(low: bytes, high: bytes) -> set[bytes]:
        if not high:
            return {low}
        return {k for k in universe if low <= k and (high == ALL_FROM or k < high)}

    have = set().union(*(members(*span) for span in granted)) if granted else set()
    wanted = members(key, end)
    covered = covers([Permission("read", *span) for span in granted], Need("read", key, end))
    if wanted and not (end == ALL_FROM and not any(e == ALL_FROM for _, e in granted)):
        assert covered == (wanted <= have)
    assert not covers([Permission("write", b"\0", ALL_FROM)], Need("read", key, end))


def test_a_password_matches_its_hash_only() -> None:
    hashed = passwords.hash_password("secret")
    assert passwords.matches("secret", hashed)
    assert not passwords.matches("Secret", hashed)
    assert not passwords.matches("", b"")
    assert not passwords.matches("secret", b"no hash")
    assert passwords.hash_password("secret") != hashed


def test_a_token_is_believed_until_it_ends_if_it_is_ours() -> None:
    token = tokens.Token("ann", 3, 100)
    text = tokens.sign(token, b"key")
    assert tokens.verify(text, b"key", 99.0) == token
    for forged, key, now_s in [
        (text, b"key", 101.0),
        (text, b"other", 99.0),
        (text, b"", 99.0),
        (text[:-4] + "AAAA", b"key", 99.0),
        ("nonsense", b"key", 99.0),
    ]:
        with pytest.raises(InvalidAuthToken):
            tokens.verify(forged, key, now_s)
