"""Who asks, as everything behind authentication knows them (pure).

Tuples: they are made, compared and hashed for every request.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from cluster.apiserver.http.messages import Request

ANONYMOUS = "system:anonymous"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"

Extra = tuple[tuple[str, tuple[str, ...]], ...]


class User(NamedTuple):
    """`extra` holds what the authenticator knows besides, by key."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Extra = ()

    @property
    def anonymous(self) -> bool:
        return self.name == ANONYMOUS

    def to_info(self) -> dict[str, Any]:
        """The UserInfo of the API."""
        info: dict[str, Any] = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra}
        return info


NOBODY = User(ANONYMOUS, (UNAUTHENTICATED_GROUP,))


def authenticated(user: User) -> User:
    """The user as a member of system:authenticated, unless nobody knows who it is."""
    if user.anonymous or AUTHENTICATED_GROUP in user.groups:
        return user
    if UNAUTHENTICATED_GROUP in user.groups:
        return user
    return User(user.name, (*user.groups, AUTHENTICATED_GROUP), user.uid, user.extra)


class InvalidToken(Exception):
    """The token is of a kind that the authenticator knows, and is not valid. Never shown."""


class Authenticator(Protocol):
    """From a request's credentials; None if it has none of this kind."""

    async def identify(self, request: Request) -> User | None: ...


class Identified(NamedTuple):
    """Whom a token stands for; `audiences` are those of the asked ones that it is meant for."""

    user: User
    audiences: tuple[str, ...] = ()


class TokenAuthenticator(Protocol):
    """None for a token of another kind. Raises InvalidToken."""

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None: ...
