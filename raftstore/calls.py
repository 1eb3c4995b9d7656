"""What users of a store call, told in terms of three ways to reach one.

`StoreClient` reaches it over the network and `testing.MemoryStore` in this process; both are
`StoreCalls`, so that a call means the same with either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from raftstore.types import (
    Alarm,
    AlarmKind,
    AuthStatus,
    Compare,
    Delete,
    DeleteResult,
    Lease,
    Op,
    Permission,
    PermissionKind,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from raftstore.wire import Kind


class StoreCalls(ABC):
    """Mixed into whoever can `execute` operations, `command` changes and `query` the state."""

    @abstractmethod
    async def execute(self, op: Op, *, serializable: bool = False) -> Any:
        """The result of any operation; `serializable` concerns what only reads."""

    @abstractmethod
    async def command(self, operation: Sequence[Any]) -> Any:
        """Replicate a change (see `wire.Kind`), exactly once."""

    @abstractmethod
    async def query(self, operation: Sequence[Any], *, serializable: bool = False) -> Any:
        """Ask about the state (see `wire.Kind`, from 20 on)."""

    # ---- keys

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
        request = Range(key, range_end, revision, limit, keys_only, count_only)
        result: RangeResult = await self.execute(request, serializable=serializable)
        return result

    async def put(
        self, key: bytes, value: bytes, *, lease: int = 0, prev_kv: bool = False
    ) -> PutResult:
        result: PutResult = await self.execute(Put(key, value, lease, prev_kv))
        return result

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult:
        result: DeleteResult = await self.execute(Delete(key, range_end, prev_kv))
        return result

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        result: TxnResult = await self.execute(Txn(compare, success, failure))
        return result

    async def compact(self, revision: int) -> None:
        await self.command([Kind.COMPACT, revision])

    # ---- leases

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        granted, ttl_s, _ = await self.command([Kind.LEASE_GRANT, ttl_s, lease_id])
        return Lease(granted, ttl_s, ttl_s)

    async def lease_revoke(self, lease_id: int) -> None:
        await self.command([Kind.LEASE_REVOKE, lease_id])

    async def lease_list(self) -> list[int]:
        """The ids of all leases, in the order in which they were granted."""
        found: list[int] = await self.query([Kind.LEASES])
        return found

    # ---- maintenance

    async def alarm_list(self) -> list[Alarm]:
        return [Alarm(*fields) for fields in await self.query([Kind.ALARMS])]

    async def alarm_raise(self, member_id: int, kind: AlarmKind) -> None:
        await self.command([Kind.ALARM, "raise", member_id, kind])

    async def alarm_clear(self, member_id: int, kind: AlarmKind) -> None:
        await self.command([Kind.ALARM, "clear", member_id, kind])

    # ---- users and roles

    async def auth_change(self, action: str, *arguments: Any) -> None:
        """One of the changes that `mvcc.auth.Auth` knows. Raises AuthError."""
        await self.command([Kind.AUTH, action, *arguments])

    async def auth_status(self) -> AuthStatus:
        return AuthStatus(*await self._auth("status"))

    async def users(self) -> list[str]:
        found: list[str] = await self._auth("users")
        return found

    async def user_roles(self, name: str) -> list[str]:
        """Raises UserNotFound."""
        found: list[str] = await self._auth("user", name)
        return found

    async def roles(self) -> list[str]:
        found: list[str] = await self._auth("roles")
        return found

    async def role_permissions(self, name: str) -> list[Permission]:
        """Raises RoleNotFound."""
        return [Permission(*fields) for fields in await self._auth("role", name)]

    async def role_grant(
        self, name: str, kind: PermissionKind, key: bytes, range_end: bytes = b""
    ) -> None:
        await self.auth_change("role_grant_permission", name, kind, key, range_end)

    async def _auth(self, what: str, name: str = "") -> Any:
        return await self.query([Kind.AUTH_STATE, what, name])
