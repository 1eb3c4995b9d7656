"""What is asked of an authorizer, and what it answers (pure; tuples, as one is made a request)."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from cluster.apiserver.authn.user import User
from cluster.apiserver.http.messages import Request
from cluster.apiserver.routing import Target
from cluster.machinery import selectors, status
from cluster.machinery.errors import BadRequest

ALLOW: Literal["allow"] = "allow"
DENY: Literal["deny"] = "deny"
NO_OPINION: Literal["no opinion"] = "no opinion"

INTERACTIVE = frozenset({"attach", "exec", "portforward"})
SELECTING = frozenset({"list", "watch", "deletecollection"})


class Attributes(NamedTuple):
    """A request for a resource (`resource` is set), or for another path (`path` is).

    `resource` is the plural; names are "" where none is given. `fields` are what a field
    selector demands, as (path, value).
    """

    user: User
    verb: str
    path: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def full_resource(self) -> str:
        """ "pods/log", or "pods"."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Decision(NamedTuple):
    """`reason` is for people; a refusal quotes it."""

    outcome: Literal["allow", "deny", "no opinion"]
    reason: str = ""

    @property
    def allowed(self) -> bool:
        return self.outcome == ALLOW


NONE = Decision(NO_OPINION)


class Authorizer(Protocol):
    async def decide(self, asked: Attributes) -> Decision: ...


def of_request(user: User, request: Request, target: Target | None) -> Attributes:
    """What a request asks for. A list of the one object of a name is asked for by that name."""
    method = request.method
    if target is None:
        return Attributes(user, "get" if method == "HEAD" else method.lower(), request.path)
    fields: tuple[tuple[str, str], ...] = ()
    name = target.name
    if target.verb in SELECTING and "fieldSelector" in request.query:
        fields = _fields(request.parameter("fieldSelector"))
        name = name or dict(fields).get("metadata.name", "")
    return Attributes(
        user,
        target.verb,
        "",
        target.group,
        target.version,
        target.plural,
        target.subresource,
        target.namespace,
        name,
        fields,
    )


def demanded(asked: Attributes) -> tuple[Attributes, ...]:
    """All that a request needs permission for. A command or a connection is created, also where
    a WebSocket begins with a GET: upstream asks for both since 1.35."""
    if asked.resource == "pods" and asked.subresource in INTERACTIVE and asked.verb == "get":
        return asked, asked._replace(verb="create")
    return (asked,)


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    try:
        parsed = selectors.parse_fields(text)
    except BadRequest:  # the handler will say so
        return ()
    return tuple((r.path, r.value) for r in parsed.requirements if r.equal)


def refusal(asked: Attributes, reason: str = "") -> status.ApiError:
    """403 in upstream's words (responsewriters.ForbiddenMessage)."""
    because = f": {reason}" if reason else ""
    if not asked.resource:
        message = f'User "{asked.user.name}" cannot {asked.verb} path "{asked.path}"'
        return status.failure(403, "Forbidden", f"forbidden: {message}{because}", {})
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    text = (
        f'User "{asked.user.name}" cannot {asked.verb} resource "{asked.full_resource}" '
        f'in API group "{asked.group}"'
    )
    namespaced = asked.namespace and asked.resource != "namespaces"
    scope = f' in the namespace "{asked.namespace}"' if namespaced else " at the cluster scope"
    return status.forbidden(resource, asked.name, text + scope + because)
