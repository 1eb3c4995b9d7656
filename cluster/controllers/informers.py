"""One informer per resource, shared by all controllers of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from cluster.client import Client, Informer
from cluster.client.paths import resource_of
from cluster.machinery.resources import Resource

Object = dict[str, object]


class Informers:
    """Informers begin to follow as soon as they are asked for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[str, Informer] = {}

    def of(self, resource: str | Resource) -> Informer:
        kind = resource_of(resource)
        name = f"{kind.api_version}/{kind.plural}"
        if name not in self._informers:
            self._informers[name] = Informer(self._client, kind)
            self._informers[name].start()
        return self._informers[name]

    def indexed(self, resource: str, name: str, indexer: Callable[..., Iterable[str]]) -> Informer:
        informer = self.of(resource)
        informer.add_index(name, indexer)
        return informer

    async def ask(self, resource: str, key: str) -> dict[str, Any] | None:
        """What the API has now; for what must not be decided on a cache that may be behind."""
        namespace, _, name = key.rpartition("/")
        page = await self._client.list(resource, namespace, field_selector=f"metadata.name={name}")
        return next(iter(page["items"]), None)

    async def stop(self) -> None:
        await asyncio.gather(*(informer.stop() for informer in self._informers.values()))
