"""Feeds the cache of one version of a custom resource with objects stored in another version.

Most objects need no call: those stored in this version, and all where the definition converts
by changing the apiVersion only. The rest wait, in order, for the conversion webhook; readers of
this version then wait with them, and are told why when it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from actors.seams import Seams
from cluster.machinery import status
from cluster.machinery.status import ApiError
from cluster.storage.cache import ResourceCache
from cluster.storage.feed import WAIT_S, Progress, Stored
from cluster.storage.stored_form import StoredForm
from raftstore.errors import StoreError

MAX_WAITING = 10_000
"""Changes kept while the webhook does not answer; beyond these everything is read anew."""
BATCH = 500
RETRY_S = (0.1, 5.0)

ReadAll = Callable[[], Awaitable[tuple[list[Stored], int]]]
"""All stored objects of the resource, and the revision at which they were read."""


class VersionFeed:
    """A `feed.Follower` for the feed, and a `feed.Progress` for readers of the version."""

    def __init__(
        self, feed: Progress, cache: ResourceCache, form: StoredForm, seams: Seams, read: ReadAll
    ) -> None:
        self._feed, self._cache, self._form, self._seams = feed, cache, form, seams
        self._read = read
        self._waiting: deque[tuple[str, bytes | None, int]] = deque()
        self._anew = False
        self._problem: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._readers: dict[asyncio.Future[None], int] = {}
        self._from = 0

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # -- fed by the feed ---------------------------------------------------------------------

    def replace(self, stored: Sequence[Stored], revision: int) -> None:
        loaded = [(key, self._form.load_now(value), rev) for key, value, rev in stored]
        self._waiting.clear()
        self._anew = any(value is None for _, value, _ in loaded)
        if self._anew:
            self._work()
        else:
            self._cache.replace([(k, v, r) for k, v, r in loaded if v is not None], revision)

    def put(self, key: str, stored: bytes, revision: int) -> None:
        data = None if self._behind else self._form.load_now(stored)
        if data is not None:
            self._cache.put(key, data, revision)
        else:
            self._wait(key, stored, revision)

    def delete(self, key: str, revision: int) -> None:
        if self._behind:
            self._wait(key, None, revision)
        else:
            self._cache.delete(key, revision)

    def notify(self) -> None:
        self._cache.notify()

    @property
    def _behind(self) -> bool:
        return self._anew or bool(self._waiting)

    def _wait(self, key: str, stored: bytes | None, revision: int) -> None:
        if self._anew and not self._from:
            return  # the reading that is to come will see it
        self._waiting.append((key, stored, revision))
        if len(self._waiting) > MAX_WAITING:
            self._waiting.clear()
            self._anew, self._from = True, 0
        self._work()

    # -- converting --------------------------------------------------------------------------

    def _work(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        delay_s = RETRY_S[0]
        while self._behind:
            try:
                await (self._reload() if self._anew else self._convert())
            except (ApiError, StoreError) as error:
                self._fail(error)
                await self._seams.clock.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_S[1])
            else:
                self._problem = None
                delay_s = RETRY_S[0]
                self._wake()

    async def _reload(self) -> None:
        """What changes after the reading has begun waits, and is applied to what was read."""
        self._from = 1
        try:
            stored, revision = await self._read()
            loaded = await self._form.load([value for _, value, _ in stored])
        except BaseException:
            self._from = 0
            self._waiting.clear()
            raise
        if not self._from:
            return  # too much has happened meanwhile
        self._from, self._anew = 0, False
        while self._waiting and self._waiting[0][2] <= revision:
            self._waiting.popleft()
        rows = [(k, data, r) for (k, _, r), data in zip(stored, loaded, strict=True)]
        self._cache.replace(rows, revision)

    async def _convert(self) -> None:
        batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
        loaded = await self._form.load([stored for _, stored, _ in batch if stored is not None])
        converted = iter(loaded)
        for key, stored, revision in batch:
            if not self._waiting or self._waiting[0] != (key, stored, revision):
                return  # everything is read anew
            self._waiting.popleft()
            if stored is None:
                self._cache.delete(key, revision)
            else:
                self._cache.put(key, next(converted), revision)
        self._cache.notify()

    # -- what readers see --------------------------------------------------------------------

    @property
    def revision(self) -> int:
        if self._anew:
            return self._cache.floor
        return self._waiting[0][2] - 1 if self._waiting else self._feed.revision

    async def fresh(self) -> None:
        await self._feed.fresh()
        await self._caught_up(self._feed.revision)

    async def reach(self, revision: int) -> None:
        await self._feed.reach(revision)
        await self._caught_up(revision)

    async def _caught_up(self, revision: int) -> None:
        if self.revision >= revision or not self._behind:
            return
        if self._problem is not None:
            raise self._problem
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers[future] = revision
        timer = self._seams.clock.call_later(WAIT_S, self._expire, future)
        try:
            await future
        finally:
            timer.cancel()
            self._readers.pop(future, None)

    def _wake(self) -> None:
        for future, revision in self._readers.items():
            if not future.done() and (self.revision >= revision or not self._behind):
                future.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._problem = error
        for future in self._readers:
            if not future.done():
                future.set_exception(error)

    def _expire(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            text = "the conversion webhook has not answered yet"
            future.set_exception(status.timeout(text))


class Fan:
    """One range of keys that feeds the caches of several versions."""

    def __init__(self, versions: Sequence[VersionFeed]) -> None:
        self._versions = tuple(versions)

    def replace(self, stored: Sequence[Stored], revision: int) -> None:
        for each in self._versions:
            each.replace(stored, revision)

    def put(self, key: str, stored: bytes, revision: int) -> None:
        for each in self._versions:
            each.put(key, stored, revision)

    def delete(self, key: str, revision: int) -> None:
        for each in self._versions:
            each.delete(key, revision)

    def notify(self) -> None:
        for each in self._versions:
            each.notify()
