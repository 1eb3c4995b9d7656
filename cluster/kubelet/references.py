"""ConfigMaps and Secrets that pods of this node refer to: followed per namespace, read on miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.client import Client, Informer
from cluster.machinery.status import ApiError

Object = dict[str, Any]


class References:
    """Follows a namespace from the first reference into it until its last pod is released."""

    def __init__(self, client: Client, on_change: Callable[[str], None]) -> None:
        self._client = client
        self._on_change = on_change
        self._informers: dict[tuple[str, str], Informer] = {}

    async def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object, or None if there is none. Raises ClientError or ApiError otherwise."""
        informer = self._follow(resource, namespace)
        found = informer.get(f"{namespace}/{name}")
        if found is not None:
            return found
        try:  # the copy may be behind: a pod is often created right after its ConfigMap
            return await self._client.get(resource, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def _follow(self, resource: str, namespace: str) -> Informer:
        informer = self._informers.get((resource, namespace))
        if informer is None:
            informer = Informer(self._client, resource, namespace)
            self._informers[resource, namespace] = informer
            informer.subscribe(lambda *_: self._on_change(namespace))
            informer.start()
        return informer

    async def keep_only(self, namespaces: set[str]) -> None:
        """Stop following what no pod is in any more."""
        for key in [key for key in self._informers if key[1] not in namespaces]:
            await self._informers.pop(key).stop()
