"""A custom resource can be created only while its definition stands and is not being deleted.

Like that of the namespace, the check is part of the creating transaction: no object slips in
behind the back of the server that deletes them all.
"""

from __future__ import annotations

from cluster.machinery import status
from cluster.machinery.resources import Resource
from cluster.storage import encoding
from cluster.storage.cache import ResourceCache
from cluster.storage.encoding import Object
from cluster.storage.namespace_guard import Guard
from raftstore.types import Compare, Store


class DefinitionGuard:
    """`key`: that of the definition, in the store and in `cache`."""

    def __init__(self, guard: Guard, store: Store, cache: ResourceCache, key: str) -> None:
        self._guard, self._store, self._cache, self._key = guard, store, cache, key

    async def check(self, resource: Resource, obj: Object, fresh: bool) -> list[Compare]:
        """404 if there is no such definition any more, 405 if it is being deleted."""
        compares = await self._guard.check(resource, obj, fresh)
        found = None if fresh else self._cached()
        revision, definition = found or await self._stored()
        if definition["metadata"].get("deletionTimestamp"):
            text = "create not allowed while custom resource definition is terminating"
            raise status.failure(405, "MethodNotAllowed", text)
        return [*compares, Compare(self._key.encode(), "mod", "=", revision)]

    def _cached(self) -> tuple[int, Object] | None:
        entry = self._cache.get(self._key)
        return None if entry is None else (entry.revision, entry.decode())

    async def _stored(self) -> tuple[int, Object]:
        result = await self._store.range(self._key.encode())
        if not result.kvs:
            raise status.path_not_found()
        return result.kvs[0].mod_revision, encoding.decode(result.kvs[0].value)
