"""The status of definitions, and the end of their objects.

Runs in every API server: what is decided follows from the definitions alone and is written with
optimistic concurrency, so servers that do the same at once do it once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from actors.seams import Seams
from cluster.apiserver.context import Kept
from cluster.apiserver.definitions.installed import Parts, build
from cluster.machinery import meta
from cluster.machinery.customresources import definition, names
from cluster.machinery.status import ApiError
from cluster.storage import keys
from cluster.storage.encoding import Object
from cluster.storage.options import DeleteOptions
from cluster.storage.registry import Registry
from raftstore.errors import StoreError

log = logging.getLogger(__name__)

RETRY_S = (0.2, 5.0)
PAGE_KEYS = 500
PARALLEL = 16


class DefinitionController:
    """Names and conditions of every definition, one at a time, then deletions."""

    def __init__(self, parts: Parts, kept: Kept) -> None:
        """`kept`: the definitions themselves."""
        self._parts, self._registry = parts, kept.registry
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._endings: dict[str, asyncio.Task[None]] = {}
        parts.cache.on_change(self._changed.set)

    def start(self) -> None:
        self._changed.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        tasks = [*self._endings.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _seams(self) -> Seams:
        return self._parts.seams

    async def _run(self) -> None:
        delay_s = RETRY_S[0]
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._parts.feed.ready.wait()
                await self._decide()
                delay_s = RETRY_S[0]
            except (ApiError, StoreError, TimeoutError) as error:
                log.info("definitions have to wait: %s", error)
                await self._seams.clock.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_S[1])
                self._changed.set()

    async def _decide(self) -> None:
        cache = self._parts.cache
        found = [entry.decode() for entry in cache.entries(keys.prefix(cache.resource))]
        for crd in found:
            if definition.is_terminating(crd):
                self._end(crd)
            elif self._status(crd) != (crd.get("status") or {}):
                await self._write(crd)

    def _others(self, crd: Object) -> list[Object]:
        cache = self._parts.cache
        entries = cache.entries(keys.prefix(cache.resource))
        return [o for o in (e.decode() for e in entries) if meta.name(o) != meta.name(crd)]

    def _status(self, crd: Object) -> Object:
        return names.decide(crd, self._others(crd), self._seams.clock.wall())

    async def _write(self, crd: Object) -> None:
        """Two definitions that want one name are decided in turn: each sees the other's status."""

        async def change(newest: Object) -> Object:
            newest["status"] = self._status(newest)
            return newest

        await self._parts.feed.fresh()
        await _tolerant(self._registry.update("", meta.name(crd), change, subresource="status"))
        await self._parts.feed.fresh()

    # -- the end -----------------------------------------------------------------------------

    def _end(self, crd: Object) -> None:
        uid = crd["metadata"]["uid"]
        if definition.FINALIZER not in (crd["metadata"].get("finalizers") or ()):
            return
        if uid not in self._endings:
            task = asyncio.get_running_loop().create_task(self._finish(crd))
            self._endings[uid] = task
            task.add_done_callback(lambda _: self._endings.pop(uid, None))

    async def _finish(self, crd: Object) -> None:
        """Delete all objects, wait until they are gone, then let the definition go."""
        delay_s = RETRY_S[0]
        while True:
            try:
                if await self._empty(crd):
                    await self._release(crd)
                    return
                await self._condition(crd, "True", "InstanceDeletionInProgress",
                                      "CustomResource deletion is in progress")  # fmt: skip
            except (ApiError, StoreError, TimeoutError) as error:
                log.info("objects of %s are not deleted yet: %s", meta.name(crd), error)
            await self._seams.clock.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_S[1])

    async def _empty(self, crd: Object) -> bool:
        """One pass of deleting; whether nothing was left to delete."""
        storage = build(crd, self._parts).storage
        prefix = keys.prefix(storage.resource)
        start, end = prefix.encode(), keys.prefix_end(prefix)
        empty = True
        while True:
            page = await self._parts.store.range(start, end, limit=PAGE_KEYS, keys_only=True)
            if not page.kvs:
                return empty
            empty = False
            found = [kv.key.decode().removeprefix(prefix) for kv in page.kvs]
            slots = asyncio.Semaphore(PARALLEL)
            await asyncio.gather(*(self._delete(storage.registry, key, slots) for key in found))
            start = page.kvs[-1].key + b"\0"

    async def _delete(self, registry: Registry, key: str, slots: asyncio.Semaphore) -> None:
        namespace, name = meta.split_key(key)
        async with slots:
            await _tolerant(registry.delete(namespace, name, DeleteOptions()))

    async def _release(self, crd: Object) -> None:
        uid = crd["metadata"]["uid"]
        await self._condition(crd, "False", "InstanceDeletionCompleted", "removed all instances")

        async def change(newest: Object) -> Object:
            if newest["metadata"]["uid"] == uid:
                held = newest["metadata"].get("finalizers") or []
                newest["metadata"]["finalizers"] = [f for f in held if f != definition.FINALIZER]
            return newest

        await _tolerant(self._registry.update("", meta.name(crd), change))

    async def _condition(self, crd: Object, state: str, reason: str, message: str) -> None:
        condition = {"type": definition.TERMINATING, "status": state}
        condition |= {"reason": reason, "message": message}
        uid = crd["metadata"]["uid"]

        async def change(newest: Object) -> Object:
            if newest["metadata"]["uid"] == uid:
                meta.set_condition(newest, condition, self._seams.clock.wall())
            return newest

        await _tolerant(self._registry.update("", meta.name(crd), change, subresource="status"))


async def _tolerant(writing: Awaitable[object]) -> None:
    """Another server may have done it already."""
    try:
        await writing
    except ApiError as error:
        if error.reason not in ("NotFound", "Conflict"):
            raise
