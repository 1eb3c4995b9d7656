"""Keeps an APIService for every group and version that this server serves itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from actors.seams import Seams
from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.context import Kept
from cluster.machinery import meta, resources
from cluster.machinery.apiservices import KEY, automanaged
from cluster.machinery.apiservices.automanaged import Changes
from cluster.machinery.status import ApiError
from cluster.storage import keys
from cluster.storage.encoding import Object
from cluster.storage.feed import Feed
from cluster.storage.options import DeleteOptions
from raftstore.errors import StoreError

log = logging.getLogger(__name__)

RETRY_S = (0.2, 5.0)
SETTLE_S = 0.1
OWN_GROUP = "apiregistration.k8s.io"
"""As upstream: the group of the APIServices has none."""


class Autoregister:
    """Runs in every API server: all come to the same, and write it with tolerance."""

    def __init__(self, seams: Seams, catalogue: Catalogue, kept: Kept, feed: Feed) -> None:
        """`kept`: the APIServices themselves."""
        self._seams, self._catalogue, self._feed = seams, catalogue, feed
        self._registry = kept.registry
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.done = False
        """Whether what is built in has been registered."""
        catalogue.on_change(self._changed.set)
        kept.registry.cache.on_change(self._changed.set)

    def start(self) -> None:
        self._changed.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        delay_s = RETRY_S[0]
        await self._feed.ready.wait()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._reconcile()
                self.done, delay_s = True, RETRY_S[0]
                await self._seams.clock.sleep(SETTLE_S)
            except (ApiError, StoreError, TimeoutError) as error:
                log.info("APIServices have to wait: %s", error)
                await self._seams.clock.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_S[1])
                self._changed.set()

    async def _reconcile(self) -> None:
        wanted = self._changes()
        if wanted.delete:  # another server may know of definitions that have not come here yet
            await self._feed.fresh()
            await self._catalogue.settled()
            wanted = self._changes()
        writing: list[Awaitable[object]] = [self._registry.create(o) for o in wanted.create]
        writing += [self._update(obj) for obj in wanted.update]
        writing += [self._registry.delete("", name, DeleteOptions()) for name in wanted.delete]
        for outcome in await asyncio.gather(*writing, return_exceptions=True):
            if isinstance(outcome, ApiError) and outcome.reason in TOLERATED:
                continue
            if isinstance(outcome, BaseException):
                raise outcome
        if writing:
            await self._feed.fresh()

    def _changes(self) -> Changes:
        cache = self._registry.cache
        entries = cache.entries(keys.prefix(resources.find(KEY)))
        held = {meta.name(obj): obj for obj in (entry.decode() for entry in entries)}
        return automanaged.changes(self._wanted(), held, starting=not self.done)

    def _wanted(self) -> dict[str, Object]:
        found: dict[str, Object] = {}
        for resource in self._catalogue.resources:
            if resource.group == OWN_GROUP:
                continue
            custom = self._catalogue.custom(resource)
            kind = automanaged.ALWAYS if custom else automanaged.ON_START
            obj = automanaged.local(resource.group, resource.version, kind)
            found[meta.name(obj)] = obj
        return found

    async def _update(self, obj: Object) -> None:
        async def change(newest: Object) -> Object:
            newest["spec"] = obj["spec"]
            return newest

        await self._registry.update("", meta.name(obj), change)


TOLERATED = frozenset({"AlreadyExists", "NotFound", "Conflict"})
