"""Keeps the catalogue true to the definitions that this server's cache holds.

Every server does this for itself: it learns of definitions as it learns of any object, by the
feed of its caches. A request for a resource that is not served waits until the cache is as new
as the store, so no server denies what another has already established.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.definitions.installed import Installed, Parts, build, fingerprint
from cluster.client.timeouts import timeout
from cluster.machinery import status
from cluster.machinery.customresources import definition
from cluster.storage import keys
from cluster.storage.encoding import Object
from raftstore.errors import StoreError

log = logging.getLogger(__name__)

RETRY_S = 0.5
WAIT_S = 3.0


class Definitions:
    """`start` after the caches have been composed; what is served follows by itself."""

    def __init__(self, parts: Parts, catalogue: Catalogue) -> None:
        self._parts, self._catalogue = parts, catalogue
        self._installed: dict[str, Installed] = {}
        self._unusable: dict[str, object] = {}
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        parts.cache.on_change(self._touch)
        catalogue.follow(self._catch_up, self.settled)

    def start(self) -> None:
        self._touch()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for name in list(self._installed):
            await self._withdraw(name)

    def installed(self, name: str) -> Installed | None:
        """A definition at work, by its name."""
        return self._installed.get(name)

    async def settled(self) -> None:
        """Wait, for a while, until what the cache knows of definitions is served."""
        if not self._settled.is_set():
            with contextlib.suppress(TimeoutError):
                async with timeout(self._parts.seams.clock, WAIT_S):
                    await self._settled.wait()

    async def _catch_up(self, key: str) -> None:
        """Groups of custom resources have a dot in their name."""
        if "." in key.partition("/")[0]:
            await self._parts.feed.fresh()
            await self.settled()

    def _touch(self) -> None:
        self._settled.clear()
        self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._parts.feed.ready.wait()
                await self._sync()
            except StoreError as error:
                log.warning("custom resources cannot be read: %s", error)
                await self._parts.seams.clock.sleep(RETRY_S)
                self._changed.set()
            except Exception:
                log.exception("custom resources could not be set up")
                await self._parts.seams.clock.sleep(RETRY_S)
                self._changed.set()
            if not self._changed.is_set():
                self._settled.set()

    async def _sync(self) -> None:
        """Withdraw first: names may have passed from one definition to another."""
        wanted = self._wanted()
        for name, now in list(self._installed.items()):
            crd = wanted.get(name)
            if crd is None or fingerprint(crd) != fingerprint(now.crd):
                await self._withdraw(name)
        for name, crd in wanted.items():
            known = fingerprint(crd)
            if name not in self._installed and self._unusable.get(name) != known:
                await self._try(name, crd)

    async def _try(self, name: str, crd: Object) -> None:
        """One definition that cannot be used (a newer server may have written it) is left out
        until it changes; it holds up no other.
        """
        self._unusable.pop(name, None)
        try:
            await self._install(name, crd)
        except StoreError:
            raise
        except Exception:
            log.exception("%s cannot be served", name)
            self._unusable[name] = fingerprint(crd)

    def _wanted(self) -> dict[str, Object]:
        cache = self._parts.cache
        found = (entry.decode() for entry in cache.entries(keys.prefix(cache.resource)))
        return {crd["metadata"]["name"]: crd for crd in found if definition.is_established(crd)}

    async def _install(self, name: str, crd: Object) -> None:
        installed = build(crd, self._parts)
        await self._parts.feed.add(installed.prefix, installed.fan)
        self._installed[name] = installed
        self._catalogue.put(name, installed.served)

    async def _withdraw(self, name: str) -> None:
        installed = self._installed.pop(name)
        self._catalogue.put(name, ())
        self._parts.feed.remove(installed.prefix)
        gone = status.gone("the resource definition has changed: list again")
        for version in installed.versions:
            version.kept.registry.cache.end(gone)
            await version.feed.stop()
