"""Questions about users: who is this token, who am I, may they, what may I.

They are created and never kept: the answer is the object with its status filled in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.apiserver import bodies, encodings
from cluster.apiserver.authn.bearer import TokenChain
from cluster.apiserver.authn.user import InvalidToken, User, authenticated
from cluster.apiserver.authz.attributes import DENY, Attributes, Authorizer
from cluster.apiserver.authz.rbac import RbacAuthorizer
from cluster.apiserver.authz.rules import Rule
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.negotiation import wanted
from cluster.apiserver.routing import Target
from cluster.machinery import meta, resources, status
from cluster.machinery.resources import Resource
from cluster.machinery.status import Cause

Object = dict[str, Any]

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io/v1", "authorization.k8s.io/v1"


@dataclass(frozen=True)
class Asked:
    """One question: the object, who asks it, and the namespace of the path."""

    obj: Object
    user: User
    namespace: str

    @property
    def spec(self) -> Object:
        return self.obj.get("spec") or {}


Review = Callable[[Asked], Awaitable[Object]]
"""Returns the status."""


class Reviews:
    """All six kinds. `now_s` tells the wall time."""

    def __init__(
        self,
        tokens: TokenChain,
        audiences: tuple[str, ...],
        authorizer: Authorizer,
        rbac: RbacAuthorizer,
        now_s: Callable[[], float],
    ) -> None:
        self._tokens, self._audiences = tokens, audiences
        self._authorizer, self._rbac, self._now_s = authorizer, rbac, now_s
        self._reviews: Mapping[str, Review] = {
            f"{AUTHENTICATION}/tokenreviews": self._token,
            f"{AUTHENTICATION}/selfsubjectreviews": self._self,
            f"{AUTHORIZATION}/selfsubjectaccessreviews": self._own_access,
            f"{AUTHORIZATION}/subjectaccessreviews": self._access,
            f"{AUTHORIZATION}/localsubjectaccessreviews": self._local_access,
            f"{AUTHORIZATION}/selfsubjectrulesreviews": self._own_rules,
        }
        self.resources: tuple[Resource, ...] = tuple(resources.find(key) for key in self._reviews)

    def has(self, target: Target) -> bool:
        return target.resource_key in self._reviews

    async def answer(self, request: Request, target: Target, user: User) -> Response:
        """201 with the answered question; 404 and 405 for what is not asked this way."""
        resource = resources.find(target.resource_key)
        if target.subresource or bool(target.namespace) != resource.namespaced:
            raise status.path_not_found()
        if target.verb != "create" or target.name:
            text = "the server does not allow this method on the requested resource"
            raise status.failure(405, "MethodNotAllowed", text, {"kind": target.plural})
        obj = bodies.read(request, resource.api_version, resource.kind)
        metadata = obj.setdefault("metadata", {})
        if target.namespace and metadata.setdefault("namespace", target.namespace) != (
            target.namespace
        ):
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        asked = Asked(obj, user, target.namespace)
        obj["status"] = await self._reviews[target.resource_key](asked)
        metadata.setdefault("creationTimestamp", meta.format_time(self._now_s()))
        encoding = wanted(request.headers.get("accept", ""), tables=False).encoding
        return Response(201, encodings.encode(obj, encoding), encoding)

    # -- who ---------------------------------------------------------------------------------

    async def _token(self, asked: Asked) -> Object:
        token = asked.spec.get("token")
        if not token:
            raise status.bad_request("token is required for TokenReview in authentication")
        audiences = tuple(asked.spec.get("audiences") or self._audiences)
        try:
            found = await self._tokens.check(token, audiences)
        except InvalidToken as error:
            return {"user": {}, "error": f"[invalid bearer token, {error}]"}
        if found is None:
            return {"user": {}, "error": "invalid bearer token"}
        suited = [a for a in found.audiences or self._audiences if a in audiences]
        if not suited:
            return {"user": {}, "error": "the token is not meant for these audiences"}
        info = authenticated(found.user).to_info()
        return {"authenticated": True, "user": info, "audiences": suited}

    async def _self(self, asked: Asked) -> Object:
        return {"userInfo": asked.user.to_info()}

    # -- may they ----------------------------------------------------------------------------

    async def _own_access(self, asked: Asked) -> Object:
        return await self._decided(asked, asked.user)

    async def _access(self, asked: Asked) -> Object:
        return await self._decided(asked, _subject(asked))

    async def _local_access(self, asked: Asked) -> Object:
        attributes = asked.spec.get("resourceAttributes") or {}
        if attributes.get("namespace", asked.namespace) != asked.namespace:
            raise status.bad_request("spec.resourceAttributes.namespace must match namespace")
        attributes["namespace"] = asked.namespace
        return await self._decided(asked, _subject(asked))

    async def _decided(self, asked: Asked, user: User) -> Object:
        decision = await self._authorizer.decide(_attributes(asked, user))
        found: Object = {"allowed": decision.allowed}
        if decision.outcome == DENY:
            found["denied"] = True
        return found | ({"reason": decision.reason} if decision.reason else {})

    # -- what --------------------------------------------------------------------------------

    async def _own_rules(self, asked: Asked) -> Object:
        namespace = asked.spec.get("namespace")
        if not namespace:
            raise status.bad_request("no namespace on request")
        held = self._rbac.rules(asked.user, namespace)
        return {
            "resourceRules": [_resource_rule(rule) for rule in held if rule.resources],
            "nonResourceRules": [_path_rule(rule) for rule in held if rule.paths],
            "incomplete": False,
        }


def _subject(asked: Asked) -> User:
    spec = asked.spec
    if not spec.get("user") and not spec.get("groups"):
        message = "at least one of user or group must be specified"
        cause = Cause("FieldValueInvalid", f'Invalid value: "": {message}', "spec.user")
        raise status.invalid(f"{asked.obj['kind']}.authorization.k8s.io", "", [cause])
    extra = tuple((key, tuple(values)) for key, values in (spec.get("extra") or {}).items())
    return User(
        spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", extra
    )


def _attributes(asked: Asked, user: User) -> Attributes:
    spec = asked.spec
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        message = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        cause = Cause("FieldValueInvalid", f"Invalid value: {message}", "spec.resourceAttributes")
        raise status.invalid(f"{asked.obj['kind']}.authorization.k8s.io", "", [cause])
    if resource is None:
        assert path is not None
        return Attributes(user, path.get("verb") or "", path.get("path") or "")
    return Attributes(
        user,
        resource.get("verb") or "",
        group=resource.get("group") or "",
        version=resource.get("version") or "",
        resource=resource.get("resource") or "",
        subresource=resource.get("subresource") or "",
        namespace=resource.get("namespace") or "",
        name=resource.get("name") or "",
    )


def _resource_rule(rule: Rule) -> Object:
    found = {
        "verbs": sorted(rule.verbs),
        "apiGroups": sorted(rule.groups),
        "resources": sorted(rule.resources),
    }
    return found | ({"resourceNames": sorted(rule.names)} if rule.names else {})


def _path_rule(rule: Rule) -> Object:
    return {"verbs": sorted(rule.verbs), "nonResourceURLs": list(rule.paths)}
