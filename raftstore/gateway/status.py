"""The store's errors as etcd tells them: gRPC status code and text (etcd 3.4, `rpctypes`).

Clients of etcd recognise errors by the exact text.
"""

from __future__ import annotations

from grpc import StatusCode

from raftstore import errors
from raftstore.errors import StoreError

_TABLE: dict[type[StoreError], tuple[StatusCode, str]] = {
    errors.EmptyKey: (StatusCode.INVALID_ARGUMENT, "key is not provided"),
    errors.KeyNotFound: (StatusCode.INVALID_ARGUMENT, "key not found"),
    errors.ValueProvided: (StatusCode.INVALID_ARGUMENT, "value is provided"),
    errors.LeaseProvided: (StatusCode.INVALID_ARGUMENT, "lease is provided"),
    errors.TooManyOperations: (StatusCode.INVALID_ARGUMENT, "too many operations in txn request"),
    errors.DuplicateKey: (StatusCode.INVALID_ARGUMENT, "duplicate key given in txn request"),
    errors.InvalidSortOption: (StatusCode.INVALID_ARGUMENT, "invalid sort option"),
    errors.Compacted: (StatusCode.OUT_OF_RANGE, "mvcc: required revision has been compacted"),
    errors.FutureRevision: (
        StatusCode.OUT_OF_RANGE,
        "mvcc: required revision is a future revision",
    ),
    errors.NoSpace: (StatusCode.RESOURCE_EXHAUSTED, "mvcc: database space exceeded"),
    errors.Corrupt: (StatusCode.DATA_LOSS, "corrupt cluster"),
    errors.LeaseNotFound: (StatusCode.NOT_FOUND, "requested lease not found"),
    errors.LeaseExists: (StatusCode.FAILED_PRECONDITION, "lease already exists"),
    errors.LeaseTtlTooLarge: (StatusCode.OUT_OF_RANGE, "too large lease TTL"),
    errors.BadTransferee: (StatusCode.FAILED_PRECONDITION, "bad leader transferee"),
    errors.MemberNotFound: (StatusCode.NOT_FOUND, "member not found"),
    errors.MemberExists: (StatusCode.FAILED_PRECONDITION, "member ID already exist"),
    errors.PeerAddressExists: (StatusCode.FAILED_PRECONDITION, "Peer URLs already exists"),
    errors.BadPeerAddress: (StatusCode.INVALID_ARGUMENT, "given member URLs are invalid"),
    errors.MemberNotLearner: (
        StatusCode.FAILED_PRECONDITION,
        "can only promote a learner member",
    ),
    errors.LearnerNotReady: (
        StatusCode.FAILED_PRECONDITION,
        "can only promote a learner member which is in sync with leader",
    ),
    errors.TooManyLearners: (
        StatusCode.FAILED_PRECONDITION,
        "too many learner members in cluster",
    ),
    errors.NotEnoughStarted: (
        StatusCode.FAILED_PRECONDITION,
        "re-configuration failed due to not enough started members",
    ),
    errors.UnhealthyCluster: (StatusCode.UNAVAILABLE, "unhealthy cluster"),
    errors.RequestTooLarge: (StatusCode.INVALID_ARGUMENT, "request is too large"),
    errors.RootUserMissing: (StatusCode.FAILED_PRECONDITION, "root user does not exist"),
    errors.RootRoleMissing: (
        StatusCode.FAILED_PRECONDITION,
        "root user does not have root role",
    ),
    errors.UserExists: (StatusCode.FAILED_PRECONDITION, "user name already exists"),
    errors.UserEmpty: (StatusCode.INVALID_ARGUMENT, "user name is empty"),
    errors.UserNotFound: (StatusCode.FAILED_PRECONDITION, "user name not found"),
    errors.RoleExists: (StatusCode.FAILED_PRECONDITION, "role name already exists"),
    errors.RoleNotFound: (StatusCode.FAILED_PRECONDITION, "role name not found"),
    errors.RoleEmpty: (StatusCode.INVALID_ARGUMENT, "role name is empty"),
    errors.AuthFailed: (
        StatusCode.INVALID_ARGUMENT,
        "authentication failed, invalid user ID or password",
    ),
    errors.PermissionDenied: (StatusCode.PERMISSION_DENIED, "permission denied"),
    errors.RoleNotGranted: (
        StatusCode.FAILED_PRECONDITION,
        "role is not granted to the user",
    ),
    errors.PermissionNotGranted: (
        StatusCode.FAILED_PRECONDITION,
        "permission is not granted to the role",
    ),
    errors.AuthNotEnabled: (StatusCode.FAILED_PRECONDITION, "authentication is not enabled"),
    errors.InvalidAuthToken: (StatusCode.UNAUTHENTICATED, "invalid auth token"),
    errors.InvalidAuthManagement: (StatusCode.INVALID_ARGUMENT, "invalid auth management"),
    errors.UnknownOutcome: (StatusCode.UNAVAILABLE, "request timed out"),
    errors.Unavailable: (StatusCode.UNAVAILABLE, "request timed out"),
    errors.SessionExpired: (StatusCode.UNAVAILABLE, "request timed out"),
    errors.NotLeader: (StatusCode.FAILED_PRECONDITION, "not leader"),
}


class Relayed(StoreError):
    """What a service of etcd was told that is a client itself: a text that has lost its code."""


class MalformedMessage(StoreError):
    """Not what the protocol says: grpc-go tells it as an internal error."""


def status_of(error: StoreError) -> tuple[StatusCode, str]:
    """Code and text; what etcd has no text for keeps ours."""
    if isinstance(error, MalformedMessage):
        return StatusCode.INTERNAL, str(error)
    if isinstance(error, Relayed):
        return StatusCode.UNKNOWN, str(error)
    for kind in type(error).__mro__:
        if kind in _TABLE:
            code, text = _TABLE[kind]
            return code, f"etcdserver: {text}"
    return StatusCode.INVALID_ARGUMENT, f"etcdserver: {error}"
