"""Feeds all watch caches from one watch of the store, and tells how far they are.

One watch over all keys makes every revision visible here, so a consistent read only needs the
store's current revision and a short wait. Several reads share one question to the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from actors.seams import Seams
from actors.seams.clock import TimerHandle
from cluster.machinery import status
from cluster.storage import keys
from raftstore.errors import Compacted, StoreError
from raftstore.types import ALL_FROM, Event, KeyValue, Store

log = logging.getLogger(__name__)

PAGE_KEYS = 1000
HISTORY_REVISIONS = 4096
"""A server that starts begins so far back, so that watches of other servers can go on at it."""
WAIT_S = 3.0
"""How long a read may wait for its revision, as in upstream's cacher."""
RETRY_S = (0.05, 2.0)
REST, SHORT_REST_S = 10, 0.01
"""Between two rounds of telling the watchers: times the last round, but no more than so long."""


Stored = tuple[str, bytes, int]
"""(key, value, mod revision)"""


class Follower(Protocol):
    """What is fed: `cache.ResourceCache`, or the versions of a custom resource."""

    def replace(self, stored: Sequence[Stored], revision: int) -> None: ...

    def put(self, key: str, stored: bytes, revision: int) -> None: ...

    def delete(self, key: str, revision: int) -> None: ...

    def notify(self) -> None: ...


class Progress(Protocol):
    """How far what a reader sees has come, and how it waits for more."""

    @property
    def revision(self) -> int: ...

    async def reach(self, revision: int) -> None: ...

    async def fresh(self) -> None: ...


class Feed:
    """`start` returns at once; `ready` is set while the caches follow the store."""

    def __init__(self, store: Store, seams: Seams, caches: Mapping[str, Follower]) -> None:
        """`caches`: by key prefix ("/registry/pods/")."""
        self._store, self._seams = store, seams
        self._caches: dict[str, Follower] = dict(caches)
        self._loading: dict[str, list[Event]] = {}
        self._loaded: dict[str, int] = {}
        self.revision = 0
        self._newest = 0
        self.loaded = False
        """Whether the caches have ever been filled."""
        self.ready = asyncio.Event()
        self._untold: dict[Follower, None] = {}
        self._telling: TimerHandle | None = None
        self._rested_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._question: asyncio.Task[int] | None = None
        self._next_question: asyncio.Task[int] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        tasks = [t for t in (self._task, self._question, self._next_question) if t is not None]
        for task in tasks:
            task.cancel()
        if self._telling is not None:
            self._telling.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- resources that come and go ------------------------------------------------------------

    async def add(self, prefix: str, cache: Follower) -> None:
        """Feed one more cache; returns when it holds what the store held at the call.

        What happens while the range is read is kept aside, and applied where the range had not
        seen it yet; what the range has seen before the watch comes to it is passed over.
        """
        kept = self._loading[prefix] = []
        self._caches[prefix] = cache
        try:
            stored, revision = await self.read(prefix)
        except BaseException:
            self.remove(prefix)
            raise
        if self._loading.get(prefix) is not kept:
            return  # everything was loaded anew meanwhile, this cache too
        del self._loading[prefix]
        cache.replace(stored, revision)
        self._loaded[prefix] = revision
        for event in kept:
            self._apply(event)
        cache.notify()

    async def read(self, prefix: str) -> tuple[list[Stored], int]:
        """All that the store holds under a prefix, and the revision of that."""
        revision, found = await self._read_all(prefix)
        return [(kv.key.decode(), kv.value, kv.mod_revision) for kv in found], revision

    def remove(self, prefix: str) -> None:
        """Feed this cache no more."""
        for known in (self._caches, self._loading, self._loaded):
            known.pop(prefix, None)

    # -- following the store -----------------------------------------------------------------

    async def _run(self) -> None:
        delay_s = RETRY_S[0]
        while True:
            try:
                if not self.ready.is_set():
                    await self._load()
                delay_s = RETRY_S[0]
                await self._follow()
            except Compacted:
                log.warning("the store compacted revision %d: loading again", self.revision)
                self.ready.clear()
            except StoreError as error:
                log.warning("the store cannot be followed: %s", error)
            except Exception:
                log.exception("the watch cache could not apply a change: loading again")
                self.ready.clear()
            await self._seams.clock.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_S[1])

    async def _load(self) -> None:
        """Begin with a state of the past: what happened since then is followed as it happened.

        The caches are ready once they have come to the revision that was the newest at first.
        """
        self._newest = (await self._store.range(b"\0", count_only=True)).revision
        past = 0 if self.loaded else HISTORY_REVISIONS
        revision, found = await self._read_past(max(self._newest - past, 1))
        self._loading.clear()
        self._loaded.clear()
        groups: dict[str, list[Stored]] = {prefix: [] for prefix in self._caches}
        for kv in found:
            key = kv.key.decode()
            prefix = self._prefix(key)
            if prefix in groups:
                groups[prefix].append((key, kv.value, kv.mod_revision))
        for prefix, cache in self._caches.items():
            cache.replace(groups[prefix], revision)
        self.revision = revision
        self._advance(revision)

    async def _read_past(self, revision: int) -> tuple[int, list[KeyValue]]:
        """Everything as of a revision, or as soon after it as the store still knows."""
        try:
            return await self._read_all(revision=revision)
        except Compacted as error:
            oldest = error.compact_revision
        try:
            return await self._read_all(revision=oldest)
        except Compacted:  # again, just now
            return await self._read_all()

    async def _read_all(
        self, prefix: str = keys.ROOT, revision: int = 0
    ) -> tuple[int, list[KeyValue]]:
        found: list[KeyValue] = []
        start, end = prefix.encode(), keys.prefix_end(prefix)
        while True:
            page = await self._store.range(start, end, revision=revision, limit=PAGE_KEYS)
            revision = revision or page.revision
            found.extend(page.kvs)
            if not page.more or not page.kvs:
                return revision, found
            start = page.kvs[-1].key + b"\0"

    async def _follow(self) -> None:
        watch = self._store.watch(b"\0", ALL_FROM, start_revision=self.revision + 1)
        try:
            async for batch in watch:
                # In order, not as a set: a simulation tells watchers in the same order every time.
                touched = dict.fromkeys(map(self._apply, batch.events))
                self._advance(batch.revision)
                self._untold.update((cache, None) for cache in touched if cache is not None)
                self._tell_soon()
        finally:
            close: Callable[[], object] | None = getattr(watch, "aclose", None)
            if close is not None:
                with contextlib.suppress(RuntimeError):
                    await close()  # type: ignore[misc]

    def _tell_soon(self) -> None:
        """At once when little happens; under load in rounds that pay for themselves.

        Many watchers make a round long. What happens meanwhile and during the rest after it goes
        out in one piece.
        """
        wait_s = self._rested_s - self._seams.clock.now()
        if wait_s <= 0:
            self._tell()
        elif self._telling is None and self._untold:
            self._telling = self._seams.clock.call_later(wait_s, self._tell)

    def _tell(self) -> None:
        self._telling = None
        untold, self._untold = self._untold, {}
        begun_s = self._seams.clock.now()
        for cache in untold:
            cache.notify()
        ended_s = self._seams.clock.now()
        self._rested_s = ended_s + rest_s(ended_s - begun_s)

    def _apply(self, event: Event) -> Follower | None:
        key = event.kv.key.decode("utf-8", "replace")
        prefix = self._prefix(key)
        cache = self._caches.get(prefix)
        if cache is None:
            return None
        if prefix in self._loading:
            self._loading[prefix].append(event)
            return None
        if event.kv.mod_revision <= self._loaded.get(prefix, 0):
            return None
        if event.type == "put":
            cache.put(key, event.kv.value, event.kv.mod_revision)
        else:
            cache.delete(key, event.kv.mod_revision)
        return cache

    def _prefix(self, key: str) -> str:
        """`/registry/pods/` or `/registry/apps/deployments/`: the first that is a cache's."""
        parts = key.split("/", 4)
        if len(parts) < 4:
            return ""
        core = f"/{parts[1]}/{parts[2]}/"
        return core if core in self._caches else f"{core}{parts[3]}/"

    def _advance(self, revision: int) -> None:
        self.revision = max(revision, self.revision)
        if self.revision >= self._newest and not self.ready.is_set():
            self.loaded = True
            self.ready.set()
        for wanted, future in self._waiting:
            if wanted <= self.revision and not future.done():
                future.set_result(None)

    # -- consistency -------------------------------------------------------------------------

    async def reach(self, revision: int) -> None:
        """Wait until the caches hold `revision`; 504 ResourceVersionTooLarge after WAIT_S."""
        if self.revision >= revision and self.ready.is_set():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (revision, future)
        self._waiting.append(waiting)
        timer = self._seams.clock.call_later(WAIT_S, self._expire, waiting)
        try:
            await future
        finally:
            timer.cancel()
            self._waiting = [w for w in self._waiting if w is not waiting]

    def _expire(self, waiting: tuple[int, asyncio.Future[None]]) -> None:
        revision, future = waiting
        if not future.done():
            future.set_exception(status.resource_version_too_large(revision, self.revision))

    async def fresh(self) -> None:
        """Wait until the caches hold everything that was written before this call."""
        await self.reach(await self.current_revision())

    async def current_revision(self) -> int:
        """The store's, linearizable. A question asked before this call is not good enough."""
        if self._question is None:
            self._question = self._ask()
            return await asyncio.shield(self._question)
        if self._next_question is None:
            self._next_question = self._ask(after=self._question)
        return await asyncio.shield(self._next_question)

    def _ask(self, after: asyncio.Task[int] | None = None) -> asyncio.Task[int]:
        question = asyncio.get_running_loop().create_task(self._answer(after))
        question.add_done_callback(_retrieve)  # Whoever asked may have gone meanwhile.
        return question

    async def _answer(self, after: asyncio.Task[int] | None) -> int:
        if after is not None:
            await asyncio.wait([after])
        try:
            result = await self._store.range(b"\0", count_only=True)
            return result.revision
        finally:
            self._question, self._next_question = self._next_question, None


def _retrieve(question: asyncio.Task[int]) -> None:
    if not question.cancelled():
        question.exception()


def rest_s(round_s: float) -> float:
    """How long to gather changes after a round that took so long.

    Short rounds take a tenth of the time, long ones half of it (pure).
    """
    return max(round_s, min(REST * round_s, SHORT_REST_S))
