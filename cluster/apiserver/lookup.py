"""Objects that the server itself needs on the way: from its caches, else as new as can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.apiserver.context import Kept
from cluster.machinery.codec import json_codec
from cluster.machinery.status import ApiError

Object = dict[str, Any]


class Lookup:
    """By resource key ("v1/secrets"), namespace and name."""

    def __init__(self, kept: Mapping[str, Kept]) -> None:
        self._kept = kept

    def cached(self, resource: str, namespace: str, name: str) -> Object | None:
        """What the watch cache holds."""
        registry = self._kept[resource].registry
        entry = registry.cache.get(registry.key(namespace, name))
        return None if entry is None else entry.decode()

    async def find(self, resource: str, namespace: str, name: str) -> Object | None:
        """What the cache holds; if that is nothing, what the store does."""
        found = self.cached(resource, namespace, name)
        return await self.newest(resource, namespace, name) if found is None else found

    async def newest(self, resource: str, namespace: str, name: str) -> Object | None:
        """What the store holds now."""
        try:
            return json_codec.decode(await self._kept[resource].registry.get(namespace, name))
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return None
