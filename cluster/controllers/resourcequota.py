"""ResourceQuota: the usage in the status is counted anew, for what left without telling.

The API server charges writes to quotas as they happen; this repairs what it could not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cluster.controllers import discovery
from cluster.controllers.framework import Controller, Result, Watch
from cluster.machinery import meta, quantity, quota, resources
from cluster.machinery.resources import Resource

Object = dict[str, Any]

QUOTAS = "resourcequotas"
RESYNC_S, OTHERS_S = 300.0, 30.0
"""OTHERS_S: while resources are counted that are not followed."""
COUNTED = ("pods", "services", "persistentvolumeclaims")
PLAIN = ("configmaps", "replicationcontrollers", "resourcequotas", "secrets")


class ResourceQuotaController(Controller):
    name = "resourcequota"
    account = "resourcequota-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch(QUOTAS), *(Watch(each, self._keys_of) for each in COUNTED)]

    def _keys_of(self, obj: Object) -> Iterable[str]:
        every = self.informers.of(QUOTAS).list()
        return [meta.key(each) for each in every if meta.namespace(each) == meta.namespace(obj)]

    async def reconcile(self, key: str) -> Result | None:
        found = self.informers.of(QUOTAS).get(key)
        if found is None:
            return None
        hard = found["spec"].get("hard") or {}
        counted, others = kinds(hard), await self._others(hard)
        for resource in counted:
            await self.informers.of(resource).synced()
        if others or status_of(found, counted, self._objects) != (found.get("status") or {}):
            await self._repair(found, [*counted, *others])
        return Result(OTHERS_S if others else RESYNC_S)

    async def _others(self, hard: Iterable[str]) -> list[Resource]:
        """Custom and aggregated resources that are counted: the server knows them by discovery.
        What it does not know now keeps its number."""
        names = unknown(hard)
        if not names:
            return []
        served = (await discovery.served(self.client)).preferred
        return [
            r for r in served if r.group_resource in names and r.namespaced and "list" in r.verbs
        ]

    async def _repair(self, found: Object, counted: Sequence[Resource]) -> None:
        """Write what is counted after the quota was read, and only if it is unchanged.

        Every write that counts changes the quota, too. What the caches hold may be older than it:
        written, that would let through more than the limit.
        """
        namespace = meta.namespace(found)
        lists = [(await self.client.list(kind, namespace))["items"] for kind in counted]
        fresh = dict(zip(counted, lists, strict=True))
        status = status_of(found, counted, lambda resource, _: fresh[resource])
        if status != (found.get("status") or {}):
            await self.client.update(QUOTAS, {**found, "status": status}, subresource="status")

    def _objects(self, resource: Resource, namespace: str) -> list[Object]:
        every = self.informers.of(resource).list()
        return [obj for obj in every if meta.namespace(obj) == namespace]


def kinds(hard: Iterable[str]) -> list[Resource]:
    """The built-in resources that these limits count. Pure."""
    names = {*COUNTED, *(name for name in hard if name in PLAIN)}
    names |= {name.removeprefix("count/") for name in hard if name.startswith("count/")}
    found = []
    for name in sorted(names):
        try:
            found.append(resources.find(name))
        except KeyError:
            continue
    return found


def unknown(hard: Iterable[str]) -> set[str]:
    """The names (`flunders.example.com`) of counted resources that are not built in. Pure."""
    named = {name.removeprefix("count/") for name in hard if name.startswith("count/")}
    return named - {resource.group_resource for resource in kinds(hard)}


def status_of(
    found: Object,
    counted: Iterable[Resource],
    objects: Callable[[Resource, str], Iterable[Object]],
) -> Object:
    """The limits, and what is used of each. What is not counted here keeps its number."""
    hard: dict[str, Any] = found["spec"].get("hard") or {}
    used: dict[str, int] = {}
    known: set[str] = set()
    for resource in counted:
        known.add(f"count/{resource.group_resource}")
        for obj in objects(resource, meta.namespace(found)):
            if quota.counts(found, resource, obj):
                for name, amount in quota.of(resource, obj).items():
                    used[name] = used.get(name, 0) + amount
    before = (found.get("status") or {}).get("used") or {}
    told = {}
    for name in hard:
        custom = name.startswith("count/") and name not in known
        binary = str(hard[name]).endswith("i")
        text = quantity.format(used.get(name, 0), binary=binary)
        told[name] = before.get(name, "0") if custom else text
    return {"hard": dict(hard), "used": told}
