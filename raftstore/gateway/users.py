"""Service Auth."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, get_args

from raftstore import passwords, tokens
from raftstore.errors import InvalidRequest
from raftstore.gateway import protocol_pb2 as pb
from raftstore.gateway.calls import Calls
from raftstore.gateway.core import Asker, Core
from raftstore.types import PermissionKind
from raftstore.wire import Kind

KINDS: tuple[str, ...] = get_args(PermissionKind)
"""In the order of etcd's numbers."""
TYPES: dict[str, Any] = {kind: number for number, kind in enumerate(KINDS)}


class Users:
    name = "etcdserverpb.Auth"

    def __init__(self, core: Core, calls: Calls) -> None:
        self._core, self._calls = core, calls

    def methods(self) -> Mapping[str, Any]:
        unary = self._calls.unary
        return {
            "AuthEnable": unary(pb.Nothing, self.enable),
            "AuthDisable": unary(pb.Nothing, self.disable),
            "AuthStatus": unary(pb.Nothing, self.status),
            "Authenticate": unary(pb.AuthenticateRequest, self.authenticate),
            "UserAdd": unary(pb.AuthUserAddRequest, self.user_add),
            "UserGet": unary(pb.AuthNameRequest, self.user_get),
            "UserList": unary(pb.Nothing, self.user_list),
            "UserDelete": unary(pb.AuthNameRequest, self.user_delete),
            "UserChangePassword": unary(pb.AuthUserChangePasswordRequest, self.change_password),
            "UserGrantRole": unary(pb.AuthUserRoleRequest, self.user_grant_role),
            "UserRevokeRole": unary(pb.AuthUserRoleRequest, self.user_revoke_role),
            "RoleAdd": unary(pb.AuthNameRequest, self.role_add),
            "RoleGet": unary(pb.AuthNameRequest, self.role_get),
            "RoleList": unary(pb.Nothing, self.role_list),
            "RoleDelete": unary(pb.AuthNameRequest, self.role_delete),
            "RoleGrantPermission": unary(pb.AuthRoleGrantPermissionRequest, self.role_grant),
            "RoleRevokePermission": unary(pb.AuthRoleRevokePermissionRequest, self.role_revoke),
        }

    async def enable(self, request: Any, asker: Asker) -> Any:
        return await self._change(asker, "enable", secrets.token_bytes(tokens.SECRET_BYTES))

    async def disable(self, request: Any, asker: Asker) -> Any:
        return await self._change(asker, "disable")

    async def status(self, request: Any, asker: Asker) -> Any:
        enabled, revision = await self._ask(asker, "status")
        return pb.AuthStatusResponse(
            header=self._core.header(), enabled=enabled, authRevision=revision
        )

    async def authenticate(self, request: Any, asker: Asker) -> Any:
        token = await self._core.authenticate(request.name, request.password)
        return pb.AuthenticateResponse(header=self._core.header(), token=token)

    async def user_add(self, request: Any, asker: Asker) -> Any:
        hashed = b"" if request.options.no_password else await _hashed(request.password)
        return await self._change(asker, "user_add", request.name, hashed)

    async def user_get(self, request: Any, asker: Asker) -> Any:
        roles = await self._ask(asker, "user", request.name)
        return pb.AuthRolesResponse(header=self._core.header(), roles=roles)

    async def user_list(self, request: Any, asker: Asker) -> Any:
        users = await self._ask(asker, "users")
        return pb.AuthUserListResponse(header=self._core.header(), users=users)

    async def user_delete(self, request: Any, asker: Asker) -> Any:
        return await self._change(asker, "user_delete", request.name)

    async def change_password(self, request: Any, asker: Asker) -> Any:
        hashed = await _hashed(request.password)
        return await self._change(asker, "user_change_password", request.name, hashed)

    async def user_grant_role(self, request: Any, asker: Asker) -> Any:
        return await self._change(asker, "user_grant_role", request.user, request.role)

    async def user_revoke_role(self, request: Any, asker: Asker) -> Any:
        return await self._change(asker, "user_revoke_role", request.user, request.role)

    async def role_add(self, request: Any, asker: Asker) -> Any:
        return await self._change(asker, "role_add", request.name)

    async def role_get(self, request: Any, asker: Asker) -> Any:
        permissions = [
            pb.Permission(permType=TYPES[kind], key=key, range_end=range_end)
            for kind, key, range_end in await self._ask(asker, "role", request.name)
        ]
        return pb.AuthRoleGetResponse(header=self._core.header(), perm=permissions)

    async def role_list(self, request: Any, asker: Asker) -> Any:
        roles = await self._ask(asker, "roles")
        return pb.AuthRolesResponse(header=self._core.header(), roles=roles)

    async def role_delete(self, request: Any, asker: Asker) -> Any:
        return await self._change(asker, "role_delete", request.name)

    async def role_grant(self, request: Any, asker: Asker) -> Any:
        granted = request.perm
        if granted.permType >= len(KINDS):
            raise InvalidRequest("no such kind of permission")
        span = granted.key, granted.range_end
        kind = KINDS[granted.permType]
        return await self._change(asker, "role_grant_permission", request.name, kind, *span)

    async def role_revoke(self, request: Any, asker: Asker) -> Any:
        span = request.key, request.range_end
        return await self._change(asker, "role_revoke_permission", request.role, *span)

    async def _change(self, asker: Asker, action: str, *arguments: Any) -> Any:
        revision = await self._core.command(asker, Kind.AUTH, action, *arguments)
        return pb.HeaderOnly(header=self._core.header(revision))

    async def _ask(self, asker: Asker, what: str, name: str = "") -> Any:
        return await self._core.query(asker, Kind.AUTH_STATE, what, name)


async def _hashed(password: str) -> bytes:
    """In a thread, for it takes its time by intention."""
    return await asyncio.to_thread(passwords.hash_password, password)
