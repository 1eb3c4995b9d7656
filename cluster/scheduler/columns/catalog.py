"""Other objects that plugins look up: claims, volumes, classes, budgets, services and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cluster.machinery import meta

Object = dict[str, Any]


class Catalog:
    """By resource ("persistentvolumes", "csinodes.storage.k8s.io") and key."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Object]] = {}
        self._assumed: dict[str, dict[str, Object]] = {}
        self._stands: dict[tuple[str, str], Callable[[Object], bool]] = {}
        self._by_namespace: dict[tuple[str, str], dict[str, Object]] = {}
        self._versions: dict[str, int] = {}

    def put(self, resource: str, obj: Object) -> None:
        """What was assumed of an older version of the object does not count any more, unless it
        says that it stands beside this one."""
        key = meta.key(obj)
        self._objects.setdefault(resource, {})[key] = obj
        self._by_namespace.setdefault((resource, meta.namespace(obj)), {})[key] = obj
        stands = self._stands.get((resource, key))
        if stands is None or not stands(obj):
            self._drop_assumed(resource, key)
        self._changed(resource)

    def remove(self, resource: str, obj: Object) -> None:
        key = meta.key(obj)
        self._objects.get(resource, {}).pop(key, None)
        self._by_namespace.get((resource, meta.namespace(obj)), {}).pop(key, None)
        self._drop_assumed(resource, key)
        self._changed(resource)

    def assume(
        self, resource: str, obj: Object, stands: Callable[[Object], bool] | None = None
    ) -> None:
        """It is about to be written so; counts until the API tells of the object again, or while
        `stands` holds for what it tells, for what takes several writes."""
        self._assumed.setdefault(resource, {})[meta.key(obj)] = obj
        if stands is not None:
            self._stands[resource, meta.key(obj)] = stands
        self._changed(resource)

    def restore(self, resource: str, key: str) -> None:
        """It is not going to be written after all."""
        self._drop_assumed(resource, key)
        self._changed(resource)

    def _drop_assumed(self, resource: str, key: str) -> None:
        if resource in self._assumed:
            self._assumed[resource].pop(key, None)
        self._stands.pop((resource, key), None)

    def assumed(self, resource: str) -> Iterable[Object]:
        return self._assumed.get(resource, {}).values()

    def version(self, resource: str) -> int:
        """Grows with every change of such an object."""
        return self._versions.get(resource, 0)

    def _changed(self, resource: str) -> None:
        self._versions[resource] = self.version(resource) + 1

    def get(self, resource: str, key: str) -> Object | None:
        assumed = self._assumed.get(resource)
        if assumed and key in assumed:
            return assumed[key]
        return self._objects.get(resource, {}).get(key)

    def list(self, resource: str) -> Iterable[Object]:
        objects, assumed = self._objects.get(resource, {}), self._assumed.get(resource)
        return (objects | assumed).values() if assumed else objects.values()

    def in_namespace(self, resource: str, namespace: str) -> Iterable[Object]:
        """Of resources that nobody assumes anything about."""
        return self._by_namespace.get((resource, namespace), {}).values()
