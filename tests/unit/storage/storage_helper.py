"""Registries over a MemoryStore, without HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from actors.seams import Seams
from actors.seams.clock import SystemClock
from actors.seams.disk import SystemDisk
from actors.seams.network import SystemNetwork
from actors.seams.randomness import seeded_randomness
from cluster.machinery import defaulting, resources
from cluster.storage import keys
from cluster.storage.cache import ResourceCache, by_prefix
from cluster.storage.claims import Allocator
from cluster.storage.event_leases import SharedLeases
from cluster.storage.feed import Feed
from cluster.storage.listing import Lister
from cluster.storage.namespace_guard import NamespaceGuard
from cluster.storage.quotas import Quotas
from cluster.storage.registry import Environment, Registry
from cluster.storage.strategies import table
from raftstore.testing import MemoryStore


class Storage:
    """The storage of one API server; several may share a store."""

    def __init__(self, store: Any, seed: int = 1, cidr: str = "10.0.0.0/16") -> None:
        self.store = store
        seams = Seams(SystemClock(), seeded_randomness(seed), SystemNetwork(), SystemDisk())
        served = table.served()
        self.caches = by_prefix({r: ResourceCache(r, table.strategy(r).fields) for r in served})
        self.feed = Feed(store, seams, self.caches)
        self.leases = SharedLeases(store, seams, 3600)
        guard = NamespaceGuard(store, self.caches["/registry/namespaces/"])
        allocator = Allocator(store, cidr, seams.randomness)
        quotas = Quotas(store, self.caches["/registry/resourcequotas/"], self.feed)
        self.env = Environment(store, seams, self.feed, allocator, self.leases, guard, quotas)

    def registry(self, name: str) -> Registry:
        resource = resources.find(name)
        cache = self.caches[keys.prefix(resource)]
        return Registry(resource, table.strategy(resource), cache, self.env)

    def lister(self, name: str) -> Lister:
        registry = self.registry(name)
        return Lister(self.store, self.feed, registry.cache)

    async def namespace(self, name: str) -> None:
        await self.registry("namespaces").create(obj("v1", "Namespace", name, ""))


@contextlib.asynccontextmanager
async def running(store: Any = None, seed: int = 1, **more: Any) -> AsyncIterator[Storage]:
    """Storage whose caches follow the store."""
    storage = Storage(store if store is not None else MemoryStore(), seed, **more)
    storage.feed.start()
    try:
        await asyncio.wait_for(storage.feed.ready.wait(), 5)
        yield storage
    finally:
        await storage.feed.stop()


def run(body: Callable[[Storage], Awaitable[None]], **more: Any) -> None:
    """Run a test body on storage with a namespace `default`."""

    async def main() -> None:
        async with running(**more) as storage:
            await storage.namespace("default")
            await body(storage)

    asyncio.run(main())


def obj(
    api_version: str, kind: str, name: str, namespace: str = "default", **parts: Any
) -> dict[str, Any]:
    """An object with defaults, as a handler would pass it on."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    metadata |= parts.pop("metadata", {})
    found = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}
    defaulting.apply(found)
    return found


def config_map(name: str, **data: str) -> dict[str, Any]:
    return obj("v1", "ConfigMap", name, data=data)


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return obj("v1", "Pod", name, spec={"containers": [{"name": "c", "image": "i"}], **spec})


def service(name: str, **spec: Any) -> dict[str, Any]:
    return obj("v1", "Service", name, spec={"ports": [{"port": 80}], **spec})
