"""Who may do what. One small interface, so that RBAC can take the place of `SystemUsers`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cluster.apiserver.authentication import User
from cluster.apiserver.routing import Target
from cluster.machinery import status

PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
MASTERS_GROUP = "system:masters"
SYSTEM_GROUPS = frozenset({MASTERS_GROUP, "system:nodes"})
SYSTEM_USERS = frozenset(
    {
        "system:kube-scheduler",
        "system:kube-controller-manager",
        "system:kube-proxy",
        "system:dns",
        "system:apiserver",
    }
)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for: a resource (`target`) or another path."""

    user: User
    method: str
    path: str
    target: Target | None


class Authorizer(Protocol):
    async def allowed(self, asked: Attributes) -> bool: ...


class SystemUsers:
    """Cluster administrators and the cluster's own components may do everything."""

    async def allowed(self, asked: Attributes) -> bool:
        if asked.method in ("GET", "HEAD") and _public(asked.path):
            return True
        user = asked.user
        return user.name in SYSTEM_USERS or not SYSTEM_GROUPS.isdisjoint(user.groups)


def _public(path: str) -> bool:
    return any(path == p or path.startswith(p + "/") for p in PUBLIC_PATHS)


def refusal(asked: Attributes) -> status.ApiError:
    """403 in upstream's words (responsewriters.ForbiddenMessage)."""
    if asked.target is None:
        verb = "get" if asked.method == "HEAD" else asked.method.lower()
        message = f'User "{asked.user.name}" cannot {verb} path "{asked.path}"'
        return status.failure(403, "Forbidden", f"forbidden: {message}", {})
    target = asked.target
    resource = f"{target.plural}.{target.group}" if target.group else target.plural
    shown = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    text = (
        f'User "{asked.user.name}" cannot {target.verb} resource "{shown}" '
        f'in API group "{target.group}"'
    )
    namespaced = target.namespace and target.plural != "namespaces"
    scope = f' in the namespace "{target.namespace}"' if namespaced else " at the cluster scope"
    return status.forbidden(resource, target.name, text + scope)
