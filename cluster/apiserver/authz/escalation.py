"""Who may write roles and bindings: only what one has may be given away.

Upstream's rule: a role may be written by who holds all that it permits in that scope or has the
verb `escalate` on it; a binding by who holds all that its role permits or has `bind` on the role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.apiserver.authz import rules
from cluster.apiserver.authz.attributes import Attributes, Authorizer
from cluster.apiserver.authz.chain import MASTERS_GROUP
from cluster.apiserver.authz.rbac import GROUP, RbacAuthorizer
from cluster.apiserver.lookup import Lookup
from cluster.machinery import status

Object = dict[str, Any]
ROLES = ("roles", "clusterroles")
BINDINGS = ("rolebindings", "clusterrolebindings")
CLUSTER_WIDE: Mapping[str, Any] = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


class EscalationCheck:
    """An admission plugin for the four kinds of RBAC."""

    def __init__(self, rbac: RbacAuthorizer, authorizer: Authorizer, lookup: Lookup) -> None:
        self._rbac, self._authorizer, self._lookup = rbac, authorizer, lookup

    async def __call__(self, review: Review) -> None:
        new, plural = review.new, review.resource.plural
        if review.resource.group != GROUP or new is None or review.subresource:
            return
        if MASTERS_GROUP in review.user.groups:
            return
        if plural in ROLES:
            await self._check_role(review, new)
        elif plural in BINDINGS:
            await self._check_binding(review, new)

    async def _check_role(self, review: Review, new: Object) -> None:
        unchanged = review.old is not None and all(
            (review.old.get(part) or []) == (new.get(part) or [])
            for part in ("rules", "aggregationRule")
        )
        if unchanged or await self._may(review, "escalate", review.resource.plural, review.name):
            return
        asked: Sequence[Any] = new.get("rules") or ()
        had = (review.old or {}).get("aggregationRule")
        if new.get("aggregationRule") and new["aggregationRule"] != had:
            asked = [*asked, CLUSTER_WIDE, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        self._refuse_missing(review, asked, review.namespace)

    async def _check_binding(self, review: Review, new: Object) -> None:
        if review.old is not None and all(
            review.old.get(part) == new.get(part) for part in ("subjects", "roleRef")
        ):
            return
        ref = new.get("roleRef") or {}
        plural = "clusterroles" if ref.get("kind") == "ClusterRole" else "roles"
        if await self._may(review, "bind", plural, ref.get("name", "")):
            return
        namespace = review.namespace if plural == "roles" else ""
        role = await self._lookup.find(f"{GROUP}/v1/{plural}", namespace, ref.get("name", ""))
        if role is None:
            raise status.not_found(f"{plural}.{GROUP}", ref.get("name", ""))
        self._refuse_missing(review, role.get("rules") or (), review.namespace)

    async def _may(self, review: Review, verb: str, plural: str, name: str) -> bool:
        asked = Attributes(review.user, verb, "", GROUP, "v1", plural, "", review.namespace, name)
        return (await self._authorizer.decide(asked)).allowed

    def _refuse_missing(
        self, review: Review, asked: Sequence[Mapping[str, Any]], namespace: str
    ) -> None:
        missing = rules.uncovered(asked, self._rbac.rules(review.user, namespace))
        if not missing:
            return
        groups = " ".join(f'"{group}"' for group in review.user.groups)
        text = (
            f'user "{review.user.name}" (groups=[{groups}]) is attempting to grant RBAC '
            "permissions not currently held:\n" + "\n".join(rules.shown(part) for part in missing)
        )
        raise status.forbidden(review.resource, review.name, text)
