"""Users, roles and permissions: part of the replicated state, with the rules of etcd 3.4.

Passwords arrive hashed, for a hash needs randomness and the same entry must give the same state
on every member. `secret` signs the tokens of users (see `raftstore.tokens`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from raftstore.errors import (
    InvalidAuthManagement,
    InvalidAuthToken,
    InvalidRequest,
    PermissionDenied,
    PermissionNotGranted,
    RoleEmpty,
    RoleExists,
    RoleNotFound,
    RoleNotGranted,
    RootRoleMissing,
    RootUserMissing,
    UserEmpty,
    UserExists,
    UserNotFound,
)
from raftstore.mvcc.permissions import Need, covers
from raftstore.types import AuthStatus, Permission

ROOT = "root"
"""The user who administers, and the role that may do anything."""
PERMISSION_KINDS = ("read", "write", "readwrite")


@dataclass
class User:
    """`password`: its hash; empty: this user cannot authenticate by password.

    `since`: the auth revision at which it got this password; older tokens are of no use.
    """

    password: bytes
    roles: set[str] = field(default_factory=set)
    since: int = 0


class Auth:
    """Each change raises an AuthError and changes nothing, or counts `revision` up."""

    def __init__(self) -> None:
        self.enabled, self.revision, self.secret = False, 1, b""
        self._users: dict[str, User] = {}
        self._roles: dict[str, dict[tuple[bytes, bytes], Permission]] = {}
        self._changes: dict[str, tuple[Callable[..., None], tuple[type, ...]]] = {
            "enable": (self._enable, (bytes,)),
            "disable": (self._disable, ()),
            "user_add": (self._user_add, (str, bytes)),
            "user_delete": (self._user_delete, (str,)),
            "user_change_password": (self._user_change_password, (str, bytes)),
            "user_grant_role": (self._user_grant_role, (str, str)),
            "user_revoke_role": (self._user_revoke_role, (str, str)),
            "role_add": (self._role_add, (str,)),
            "role_delete": (self._role_delete, (str,)),
            "role_grant_permission": (self._role_grant, (str, str, bytes, bytes)),
            "role_revoke_permission": (self._role_revoke, (str, bytes, bytes)),
        }

    def change(self, action: str, *arguments: Any) -> None:
        """Carry out one change. Raises AuthError, InvalidRequest."""
        self.check_form(action, arguments)
        self._changes[action][0](*arguments)
        self.revision += 1

    def check_form(self, action: str, arguments: Iterable[Any]) -> None:
        """Refuse what is no change at all. Raises InvalidRequest."""
        known = isinstance(action, str) and action in self._changes
        kinds = self._changes[action][1] if known else None
        given = tuple(arguments)
        if kinds is None or len(given) != len(kinds) or not all(map(isinstance, given, kinds)):
            raise InvalidRequest(f"malformed change of users or roles: {action}")

    # ---- who may do what

    def check(self, user: str, revision: int, needs: Iterable[Need]) -> None:
        """Raises AuthError unless `user` has what is needed.

        `revision` is that of the user's token. Without one it is 0, or negative for somebody whom
        a certificate names (if it names nobody: an unknown user, as in etcd).
        """
        if not self.enabled:
            return
        if revision > 0 and not self._is_current(user, revision):
            raise InvalidAuthToken("the user is gone or has another password: authenticate again")
        if not user and not revision:
            raise UserEmpty("the request names no user")
        granted = self._permissions(user)
        if granted is not None and not all(covers(granted, need) for need in needs):
            raise PermissionDenied("the user's roles do not permit this")

    def _is_current(self, user: str, revision: int) -> bool:
        """Whether a token that was given at `revision` still counts: roles may have changed."""
        return user in self._users and revision >= self._users[user].since

    def check_administrator(self, user: str, revision: int) -> None:
        if not self.enabled:
            return
        self.check(user, revision if user else 0, ())
        if self._permissions(user) is not None:
            raise PermissionDenied("only root may do this")

    def _permissions(self, user: str) -> list[Permission] | None:
        """All that the user's roles grant; None is everything."""
        found = self._users.get(user)
        if found is None:
            raise PermissionDenied("there is no such user")
        if ROOT in found.roles:
            return None
        return [p for role in found.roles for p in self._roles.get(role, {}).values()]

    # ---- what there is

    @property
    def status(self) -> AuthStatus:
        return AuthStatus(self.enabled, self.revision)

    def users(self) -> list[str]:
        return sorted(self._users)

    def user(self, name: str) -> User:
        """Raises UserNotFound."""
        if name not in self._users:
            raise UserNotFound(f"there is no user {name!r}")
        return self._users[name]

    def roles(self) -> list[str]:
        return sorted(self._roles)

    def role(self, name: str) -> list[Permission]:
        """Its permissions in order of their keys. Raises RoleNotFound."""
        return sorted(self._role(name).values(), key=lambda p: (p.key, p.range_end))

    def has_role(self, user: str, role: str) -> bool:
        return user in self._users and role in self._users[user].roles

    def _role(self, name: str) -> dict[tuple[bytes, bytes], Permission]:
        if name not in self._roles:
            raise RoleNotFound(f"there is no role {name!r}")
        return self._roles[name]

    # ---- changes

    def _enable(self, secret: bytes) -> None:
        root = self._users.get(ROOT)
        if root is None:
            raise RootUserMissing("there is no user root")
        if ROOT not in root.roles:
            raise RootRoleMissing("the user root does not have the role root")
        self.enabled, self.secret = True, self.secret or secret

    def _disable(self) -> None:
        self.enabled, self.secret = False, b""

    def _keep_root(self, name: str) -> None:
        if self.enabled and name == ROOT:
            raise InvalidAuthManagement("root stays while authentication is required")

    def _user_add(self, name: str, password: bytes) -> None:
        if not name:
            raise UserEmpty("a user needs a name")
        if name in self._users:
            raise UserExists(f"there is a user {name!r}")
        self._users[name] = User(password, since=self.revision + 1)

    def _user_delete(self, name: str) -> None:
        self._keep_root(name)
        self.user(name)
        del self._users[name]

    def _user_change_password(self, name: str, password: bytes) -> None:
        user = self.user(name)
        user.password, user.since = password, self.revision + 1

    def _user_grant_role(self, name: str, role: str) -> None:
        user = self.user(name)
        if role != ROOT:
            self._role(role)
        user.roles.add(role)

    def _user_revoke_role(self, name: str, role: str) -> None:
        if role == ROOT:
            self._keep_root(name)
        user = self.user(name)
        if role not in user.roles:
            raise RoleNotGranted(f"the user {name!r} does not have the role {role!r}")
        user.roles.remove(role)

    def _role_add(self, name: str) -> None:
        if not name:
            raise RoleEmpty("a role needs a name")
        if name in self._roles:
            raise RoleExists(f"there is a role {name!r}")
        self._roles[name] = {}

    def _role_delete(self, name: str) -> None:
        self._keep_root(name)
        self._role(name)
        del self._roles[name]
        for user in self._users.values():
            user.roles.discard(name)

    def _role_grant(self, name: str, kind: str, key: bytes, range_end: bytes) -> None:
        if kind not in PERMISSION_KINDS:
            raise InvalidRequest(f"unknown kind of permission {kind!r}")
        self._role(name)[key, range_end] = Permission(kind, key, range_end)  # type: ignore[arg-type]

    def _role_revoke(self, name: str, key: bytes, range_end: bytes) -> None:
        role = self._role(name)
        if (key, range_end) not in role:
            raise PermissionNotGranted(f"the role {name!r} has no permission on this range")
        del role[key, range_end]

    # ---- snapshots

    def dump(self) -> list[Any]:
        users = [
            [name, user.password, sorted(user.roles), user.since]
            for name, user in sorted(self._users.items())
        ]
        roles = [[name, [*granted.values()]] for name, granted in sorted(self._roles.items())]
        return [self.enabled, self.revision, self.secret, users, roles]

    def load(self, dumped: list[Any]) -> None:
        self.enabled, self.revision, self.secret, users, roles = dumped
        self._users = {
            name: User(password, set(granted), since) for name, password, granted, since in users
        }
        self._roles = {
            name: {(key, end): Permission(kind, key, end) for kind, key, end in granted}
            for name, granted in roles
        }
