"""ConfigMaps and Secrets that pods of this node refer to: each followed, read on a miss.

One watch for each object: a node may read what its pods name, and nothing else of its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.client import Client, Informer
from cluster.machinery.status import ApiError

Object = dict[str, Any]


class References:
    """Follows an object from the first reference to it until no pod of its namespace is here."""

    def __init__(self, client: Client, on_change: Callable[[str], None]) -> None:
        self._client = client
        self._on_change = on_change
        self._informers: dict[tuple[str, str, str], Informer] = {}

    async def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object, or None if there is none. Raises ClientError or ApiError otherwise."""
        informer = self._follow(resource, namespace, name)
        found = informer.get(f"{namespace}/{name}")
        if found is not None:
            return found
        try:  # the copy may be behind: a pod is often created right after its ConfigMap
            return await self._client.get(resource, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def _follow(self, resource: str, namespace: str, name: str) -> Informer:
        informer = self._informers.get((resource, namespace, name))
        if informer is None:
            selector = f"metadata.name={name}"
            informer = Informer(self._client, resource, namespace, field_selector=selector)
            self._informers[resource, namespace, name] = informer
            informer.subscribe(lambda *_: self._on_change(namespace))
            informer.start()
        return informer

    async def keep_only(self, namespaces: set[str]) -> None:
        """Stop following what no pod is in any more."""
        for key in [key for key in self._informers if key[1] not in namespaces]:
            await self._informers.pop(key).stop()
