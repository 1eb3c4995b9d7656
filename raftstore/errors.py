"""Errors of the store. Whether a write may have happened is told by the type, never by text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class StoreError(Exception):
    """Base of everything that the store tells its users."""

    def arguments(self) -> list[Any]:
        """What `decode` needs to build the same error on the other side of a link."""
        return [str(a) for a in self.args]


class Unavailable(StoreError):
    """No member could take the request in time; it was surely not applied."""


class UnknownOutcome(StoreError):
    """The request was sent and its answer lost: it may or may not have been applied."""


class Compacted(StoreError):
    """The revision asked for is older than what the store still keeps."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(f"revision has been compacted; oldest kept is {compact_revision}")
        self.compact_revision = compact_revision

    def arguments(self) -> list[Any]:
        return [self.compact_revision]


class FutureRevision(StoreError):
    """The revision asked for does not exist yet."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"revision is in the future; current is {revision}")
        self.revision = revision

    def arguments(self) -> list[Any]:
        return [self.revision]


class LeaseNotFound(StoreError):
    """The lease has expired, was revoked, or never existed."""


class InvalidRequest(StoreError):
    """The request contradicts itself or exceeds a limit; nothing was changed."""


class EmptyKey(InvalidRequest):
    """A key must not be empty."""


class KeyNotFound(InvalidRequest):
    """A put that keeps value or lease needs a key that exists."""


class ValueProvided(InvalidRequest):
    """A put that keeps the value must not give one."""


class LeaseProvided(InvalidRequest):
    """A put that keeps the lease must not give one."""


class InvalidSortOption(InvalidRequest):
    """No such order or target of sorting."""


class TooManyOperations(InvalidRequest):
    """A transaction exceeds the limit on its operations."""


class DuplicateKey(InvalidRequest):
    """A transaction would change one key twice."""


class LeaseExists(InvalidRequest):
    """A lease with the id asked for is there already."""


class LeaseTtlTooLarge(InvalidRequest):
    """A lease was asked for more time than any can have."""


class RequestTooLarge(InvalidRequest):
    """The request has more bytes than any may have."""


class NoSpace(StoreError):
    """The store's quota is used up: compact or delete, then clear the alarm."""


class Corrupt(StoreError):
    """Members disagree on what the store holds; nothing is served until this is cleared."""


class AuthError(StoreError):
    """Users and roles forbid it, or the request about them cannot be carried out."""


class AuthNotEnabled(AuthError):
    """Nobody needs to authenticate here."""


class AuthFailed(AuthError):
    """No such user, or another password."""


class InvalidAuthToken(AuthError):
    """The token is not of this store, or too old: authenticate again."""


class InvalidAuthManagement(AuthError):
    """The root user and role cannot be taken away while authentication is required."""


class PermissionDenied(AuthError):
    """The user may not do this."""


class PermissionNotGranted(AuthError):
    """The role does not have the permission that is to be revoked."""


class RoleEmpty(AuthError):
    """A role needs a name."""


class RoleExists(AuthError):
    """There is a role of this name."""


class RoleNotFound(AuthError):
    """There is no role of this name."""


class RoleNotGranted(AuthError):
    """The user does not have the role that is to be revoked."""


class RootRoleMissing(AuthError):
    """Before authentication is required, the user root must have the role root."""


class RootUserMissing(AuthError):
    """Before authentication is required, there must be a user root."""


class UserEmpty(AuthError):
    """Authentication is required and the request names no user, or a user gets no name."""


class UserExists(AuthError):
    """There is a user of this name."""


class UserNotFound(AuthError):
    """There is no user of this name."""


class MemberNotFound(InvalidRequest):
    """The store has no such member."""


class BadTransferee(InvalidRequest):
    """Leadership cannot be handed to this member: there is no such voter."""


class MemberExists(InvalidRequest):
    """A member with this id is or was there."""


class PeerAddressExists(InvalidRequest):
    """Another member is reached at this address."""


class BadPeerAddress(InvalidRequest):
    """A member needs addresses of the form host:port, each once."""


class MemberNotLearner(InvalidRequest):
    """Only a learner can be promoted."""


class LearnerNotReady(InvalidRequest):
    """The learner lags too far behind to vote."""


class TooManyLearners(InvalidRequest):
    """There is a learner already."""


class UnhealthyCluster(StoreError):
    """The change would leave the store without a majority, or another one is under way."""


class NotEnoughStarted(StoreError):
    """Too few of the members that would vote have ever started."""


class SessionExpired(StoreError):
    """The client's session was evicted: whether a retried write happened is not known any more."""


class NotLeader(StoreError):
    """Only the leader may answer this; `address` is where it was last seen, or empty."""

    def __init__(self, address: str = "") -> None:
        super().__init__(f"not the leader; it may be at {address or 'an unknown address'}")
        self.address = address

    def arguments(self) -> list[Any]:
        return [self.address]


def _with_subclasses(kind: type[StoreError]) -> Iterator[type[StoreError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)


_TYPES = {kind.__name__: kind for kind in _with_subclasses(StoreError)}


def encode(error: StoreError) -> list[Any]:
    """An error as `[name, arguments]`, for the wire and for snapshots."""
    return [type(error).__name__, error.arguments()]


def decode(wire: list[Any]) -> StoreError:
    """The inverse of `encode`; a name from a newer version becomes a plain StoreError."""
    name, arguments = wire
    return _TYPES.get(name, StoreError)(*arguments)
