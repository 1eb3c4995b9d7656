"""ClusterRole aggregation: a role with an aggregationRule has the rules of those it selects."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers.framework import Controller, Result, Watch
from cluster.machinery import meta, selectors

Object = dict[str, Any]

ROLES = "clusterroles.rbac.authorization.k8s.io"


class ClusterRoleAggregation(Controller):
    """A change of any role may concern every role that aggregates."""

    name = "clusterrole-aggregation"
    account = "clusterrole-aggregation-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch(ROLES, self._aggregating)]

    def _aggregating(self, _: Object) -> Iterable[str]:
        roles = self.informers.of(ROLES).list()
        return [meta.key(role) for role in roles if role.get("aggregationRule")]

    async def reconcile(self, key: str) -> Result | None:
        role = self.informers.of(ROLES).get(key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules = aggregated(role, self.informers.of(ROLES).list())
        if rules != (role.get("rules") or []):
            await self.client.update(ROLES, copy.deepcopy(role) | {"rules": rules})
        return None


def aggregated(role: Object, roles: Iterable[Object]) -> list[Object]:
    """The rules of all roles that are selected, by selector and name, each once (pure)."""
    rules: list[Object] = []
    ordered = sorted(roles, key=lambda each: each["metadata"]["name"])
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        wanted = selectors.from_object(selector)
        for other in ordered:
            if other["metadata"]["name"] == role["metadata"]["name"]:
                continue
            if wanted.matches(other["metadata"].get("labels") or {}):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules
