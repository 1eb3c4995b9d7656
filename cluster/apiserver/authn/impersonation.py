"""Impersonate-User, -Group, -Uid, -Extra-KEY: act as another, where one may `impersonate`."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from cluster.apiserver.authn.user import (
    AUTHENTICATED_GROUP,
    UNAUTHENTICATED_GROUP,
    User,
    authenticated,
)
from cluster.apiserver.authz.attributes import Attributes, Authorizer, refusal
from cluster.apiserver.http.messages import Request
from cluster.machinery import status

PREFIX = "impersonate-"
EXTRA = "impersonate-extra-"
ACCOUNT = "system:serviceaccount:"
AUTHENTICATION_GROUP = "authentication.k8s.io"


def wanted(request: Request) -> bool:
    """Whether the request has such headers at all; most have none."""
    return any(name.startswith(PREFIX) for name in request.headers)


async def impersonated(request: Request, user: User, authorizer: Authorizer) -> User:
    """Whom the request is to be served as. 403 if `user` may not, 400 for half a request."""
    asked = _asked(request)
    for attributes in _permissions(user, asked):
        decision = await authorizer.decide(attributes)
        if not decision.allowed:
            raise refusal(attributes, decision.reason)
    for name in [name for name in request.headers if name.startswith(PREFIX)]:
        del request.headers[name]
    return _completed(asked)


def _asked(request: Request) -> User:
    headers = request.headers
    name = headers.get("impersonate-user", "")
    groups = tuple(request.values("impersonate-group"))
    extra = {
        unquote(header[len(EXTRA) :]).lower(): tuple(request.values(header))
        for header in sorted(headers)
        if header.startswith(EXTRA)
    }
    uid = headers.get("impersonate-uid", "")
    if not name:
        raise status.bad_request("requested groups, uid or extra without impersonating a user")
    return User(name, groups, uid, tuple(extra.items()))


def _permissions(user: User, asked: User) -> Iterator[Attributes]:
    """One `impersonate` for each part of whom is asked for."""
    namespace, name = _account(asked.name)
    if namespace:
        yield Attributes(user, "impersonate", "", "", "v1", "serviceaccounts", "", namespace, name)
    else:
        yield _may(user, "", "users", "", asked.name)
    for group in asked.groups:
        yield _may(user, "", "groups", "", group)
    if asked.uid:
        yield _may(user, AUTHENTICATION_GROUP, "uids", "", asked.uid)
    for key, values in asked.extra:
        for value in values:
            yield _may(user, AUTHENTICATION_GROUP, "userextras", key, value)


def _may(user: User, group: str, resource: str, subresource: str, name: str) -> Attributes:
    return Attributes(user, "impersonate", "", group, "v1", resource, subresource, "", name)


def _account(name: str) -> tuple[str, str]:
    if not name.startswith(ACCOUNT):
        return "", ""
    namespace, _, account = name.removeprefix(ACCOUNT).partition(":")
    return (namespace, account) if namespace and account else ("", "")


def _completed(asked: User) -> User:
    """With the groups that every user, and every service account, is in."""
    groups = list(asked.groups)
    namespace, _ = _account(asked.name)
    if namespace and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    if asked.anonymous and UNAUTHENTICATED_GROUP not in groups:
        groups.append(UNAUTHENTICATED_GROUP)
    known = AUTHENTICATED_GROUP in groups or UNAUTHENTICATED_GROUP in groups
    user = User(asked.name, tuple(groups), asked.uid, asked.extra)
    return user if known else authenticated(user)
