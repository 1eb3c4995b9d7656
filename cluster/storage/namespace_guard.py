"""A namespaced object can be created only while its namespace exists and is not terminating.

The check is part of the creating transaction: it compares the namespace's revision, so an
object cannot slip in behind the namespace controller's back.
"""

from __future__ import annotations

from typing import Protocol

from cluster.machinery import resources, status
from cluster.machinery.resources import Resource
from cluster.storage import encoding, keys
from cluster.storage.cache import ResourceCache
from cluster.storage.encoding import Object
from raftstore.types import Compare, Store

NAMESPACES = resources.find("v1/namespaces")


class Guard(Protocol):
    """What must hold when an object is created."""

    async def check(self, resource: Resource, obj: Object, fresh: bool) -> list[Compare]:
        """The compares of the creating transaction; `fresh`: do not trust a cache."""
        ...


class NamespaceGuard:
    """`cache` is that of namespaces; where it does not know one, the store is asked."""

    def __init__(self, store: Store, cache: ResourceCache) -> None:
        self._store, self._cache = store, cache

    async def check(self, resource: Resource, obj: Object, fresh: bool) -> list[Compare]:
        """The compares for creating `obj`. Raises 404 or 403 as upstream's NamespaceLifecycle."""
        if not resource.namespaced:
            return []
        name = obj["metadata"]["namespace"]
        found = None if fresh else self._cached(name)
        if found is None:
            found = await self._stored(name)
        revision, namespace = found
        if namespace["metadata"].get("deletionTimestamp"):
            raise _terminating(resource, obj["metadata"].get("name", ""), name)
        return [Compare(self._key(name), "mod", "=", revision)]

    def _key(self, name: str) -> bytes:
        return keys.key(NAMESPACES, "", name).encode()

    def _cached(self, name: str) -> tuple[int, Object] | None:
        entry = self._cache.get(self._key(name).decode())
        return None if entry is None else (entry.revision, entry.decode())

    async def _stored(self, name: str) -> tuple[int, Object]:
        result = await self._store.range(self._key(name))
        if not result.kvs:
            raise status.not_found(NAMESPACES, name)
        return result.kvs[0].mod_revision, encoding.decode(result.kvs[0].value)


def _terminating(resource: Resource, name: str, namespace: str) -> status.ApiError:
    text = f"unable to create new content in namespace {namespace} because it is being terminated"
    error = status.forbidden(resource, name, text)
    error.status["details"]["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return error
