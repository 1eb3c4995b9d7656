"""Lists: from the cache where it can answer, from the store at a revision where it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from cluster.machinery import status
from cluster.storage import continuation
from cluster.storage.cache import ResourceCache
from cluster.storage.continuation import LATEST, Continuation
from cluster.storage.entry import Entry
from cluster.storage.feed import Progress
from cluster.storage.keys import prefix_end
from cluster.storage.selection import Selection
from cluster.storage.stored_form import StoredForm
from raftstore.errors import Compacted, FutureRevision
from raftstore.types import KeyValue, Store

EXACT = "Exact"
NOT_OLDER = "NotOlderThan"
SCAN_KEYS = 500
"""Keys read from the store at a time while a selector is being satisfied."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """`resource_version` "" is a consistent read, "0" takes what is there."""

    selection: Selection
    resource_version: str = ""
    match: str = ""
    limit: int = 0
    continue_: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """`remaining` is None where it is not known (selectors) or nothing remains."""

    revision: int
    entries: list[Entry]
    continue_: str = ""
    remaining: int | None = None


class Lister:
    """Lists of one resource."""

    def __init__(
        self,
        store: Store,
        feed: Progress,
        cache: ResourceCache,
        form: StoredForm | None = None,
    ) -> None:
        """`form`: how objects are stored, unless it is that of the cache."""
        self._store, self._feed, self._cache = store, feed, cache
        self._form = form or cache.form

    async def list(self, asked: ListOptions) -> Page:
        """One page. Errors: 400, 410 Expired, 504 ResourceVersionTooLarge."""
        if asked.continue_:
            return await self._continued(asked, continuation.decode(asked.continue_))
        if asked.match == EXACT:
            return await self._exact(asked, int(asked.resource_version), "")
        await self._wait(asked.resource_version)
        return self._from_cache(asked, "", self._feed.revision)

    async def _wait(self, resource_version: str) -> None:
        if resource_version == "":
            await self._feed.fresh()
        elif resource_version != "0" or self._feed.revision == 0:
            await self._feed.reach(int(resource_version))

    async def _continued(self, asked: ListOptions, token: Continuation) -> Page:
        after = asked.selection.prefix + token.key
        if token.revision == LATEST:
            await self._feed.fresh()
            return self._from_cache(asked, after, self._feed.revision)
        return await self._exact(asked, token.revision, after)

    async def _exact(self, asked: ListOptions, revision: int, after: str) -> Page:
        if revision > self._feed.revision:
            await self._feed.reach(revision)
        unchanged = self._cache.changed_revision <= revision
        if unchanged and await self._kept(revision):
            return self._from_cache(asked, after, revision)
        try:
            return await self._from_store(asked, revision, after)
        except Compacted:
            raise self._too_old(asked, after) from None
        except FutureRevision as error:
            raise status.resource_version_too_large(revision, error.revision) from None

    async def _kept(self, revision: int) -> bool:
        """Whether the store still has the revision: the cache must not outlive compaction."""
        try:
            await self._store.range(b"\0", revision=revision, count_only=True)
        except (Compacted, FutureRevision):
            return False
        return True

    def _too_old(self, asked: ListOptions, after: str) -> status.ApiError:
        if after:
            return continuation.expired(after.removeprefix(asked.selection.prefix))
        return status.gone("The resourceVersion for the provided list is too old.")

    def _from_cache(self, asked: ListOptions, after: str, revision: int) -> Page:
        found = self._cache.select(asked.selection, after)
        if not asked.limit:
            return Page(revision, list(found))
        entries = list(islice(found, asked.limit + 1))
        if len(entries) <= asked.limit:
            return Page(revision, entries)
        entries.pop()
        last = entries[-1].key
        left = None
        if not asked.selection.selective:
            left = self._cache.count(asked.selection.prefix, last)
        return Page(revision, entries, _token(asked, revision, last), left)

    async def _from_store(self, asked: ListOptions, revision: int, after: str) -> Page:
        """Reads in slices until the page is full; one object more tells whether any follow."""
        prefix, selection = asked.selection.prefix, asked.selection
        start, end = (after.encode() + b"\0" if after else prefix.encode()), prefix_end(prefix)
        size = SCAN_KEYS if selection.selective or not asked.limit else asked.limit + 1
        entries: list[Entry] = []
        while True:
            found = await self._store.range(start, end, revision=revision, limit=size)
            entries += filter(selection.matches, await self._entries(found.kvs))
            full = asked.limit and len(entries) > asked.limit
            if full or not found.more or not found.kvs:
                break
            start = found.kvs[-1].key + b"\0"
        if not full:
            return Page(revision, entries)
        entries = entries[: asked.limit]
        left = None if selection.selective else found.count - asked.limit
        return Page(revision, entries, _token(asked, revision, entries[-1].key), left)

    async def _entries(self, kvs: Sequence[KeyValue]) -> Sequence[Entry]:
        loaded = await self._form.load([kv.value for kv in kvs])
        return [
            self._cache.shown(kv.key.decode(), data, kv.mod_revision)
            for kv, data in zip(kvs, loaded, strict=True)
        ]


def _token(asked: ListOptions, revision: int, last: str) -> str:
    return Continuation(revision, last.removeprefix(asked.selection.prefix)).encode()
