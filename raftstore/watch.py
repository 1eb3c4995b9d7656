"""Watches: every revision once and in order, from any revision that is still kept.

A watcher is *synced* when it has been offered everything up to the current revision: then new
events are queued for it as they happen. One that starts in the past, or whose queue is full,
is *unsynced* and reads the history instead, a slice at a time, until it has caught up. So a slow
watcher costs a bounded queue and misses nothing, unless compaction overtakes it: then it is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence

from raftstore import wire
from raftstore.errors import Compacted
from raftstore.mvcc.store import MvccStore
from raftstore.mvcc.txn import in_range
from raftstore.types import Event, EventType, WatchBatch

MAX_QUEUED_EVENTS = 4096
CATCH_UP_REVISIONS = 512
"""Revisions looked at in one `take`, so that a long catch-up does not hold up others."""


class Watcher:
    """One subscription. `take` until it returns None, then wait for `notify` to be called."""

    def __init__(
        self,
        hub: WatchHub,
        key: bytes,
        range_end: bytes,
        next_revision: int,
        prev_kv: bool,
        notify: Callable[[], None],
        filters: Collection[EventType],
    ) -> None:
        self.key, self.range_end = key, range_end
        self._filters = filters
        self._hub, self._prev_kv, self._notify = hub, prev_kv, notify
        self._next_revision = next_revision
        self._queue: deque[WatchBatch] = deque()
        self._queued_events = 0
        self._synced = False
        self._announced = False

    def take(self) -> WatchBatch | None:
        """The next batch, or None if there is nothing new. Raises Compacted."""
        while not self._queue and not self._synced:
            batch = self._catch_up()
            if batch is not None:
                return batch
        if self._queue:
            batch = self._queue.popleft()
            self._queued_events -= len(batch.events)
            return batch
        return self.progress() if not self._announced else None

    def progress(self) -> WatchBatch | None:
        """An empty batch that tells how far the watch is; None if it has more to give first."""
        if self._queue or not self._synced or self._next_revision > self._hub.revision + 1:
            return None
        self._announced = True
        return WatchBatch(self._hub.revision, ())

    def close(self) -> None:
        self._hub.forget(self)

    def offer(self, revision: int, events: Sequence[Event]) -> None:
        """Called by the hub for each revision with events of interest."""
        if not self._synced or revision < self._next_revision:
            return
        if self._queued_events >= MAX_QUEUED_EVENTS:
            self._synced = False
            self._next_revision = revision
            return
        self._queue.append(self._batch(revision, events))
        self._queued_events += len(events)
        self._next_revision = revision + 1
        self._notify()

    def reset(self) -> None:
        """The state was replaced by a snapshot: go on from the history that came with it."""
        if self._synced:
            self._synced = False
        self._notify()

    def _batch(self, revision: int, events: Sequence[Event]) -> WatchBatch:
        self._announced = True
        return self._hub.batch(revision, events, self._prev_kv)

    def _catch_up(self) -> WatchBatch | None:
        store = self._hub.store
        if self._next_revision < store.compacted_revision:
            raise Compacted(store.compacted_revision)
        last = min(store.revision, self._next_revision + CATCH_UP_REVISIONS - 1)
        for revision in range(self._next_revision, last + 1):
            self._next_revision = revision + 1
            events = [e for e in store.events(revision) if self.wants(e)]
            if events:
                return self._batch(revision, events)
        self._synced = self._next_revision > store.revision
        return None

    def wants(self, event: Event) -> bool:
        return event.type not in self._filters and in_range(event.kv.key, self.key, self.range_end)


class WatchHub:
    """Offers each revision to the watchers that want it. Watchers of one key are looked up."""

    def __init__(self, store: Callable[[], MvccStore]) -> None:
        self._store = store
        self._ranges: dict[Watcher, None] = {}
        self._single: dict[bytes, dict[Watcher, None]] = {}
        self._made: dict[bool, tuple[Sequence[Event], WatchBatch]] = {}
        self._packed: tuple[WatchBatch | None, bytes] = (None, b"")

    @property
    def store(self) -> MvccStore:
        return self._store()

    @property
    def revision(self) -> int:
        return self.store.revision

    def open(
        self,
        key: bytes,
        range_end: bytes,
        start_revision: int,
        prev_kv: bool,
        notify: Callable[[], None],
        filters: Collection[EventType] = (),
    ) -> Watcher:
        """A watcher from `start_revision` (0: from the next one). Raises Compacted."""
        start = start_revision or self.revision + 1
        if start < self.store.compacted_revision:
            raise Compacted(self.store.compacted_revision)
        watcher = Watcher(self, key, range_end, start, prev_kv, notify, filters)
        (self._ranges if range_end else self._single.setdefault(key, {}))[watcher] = None
        return watcher

    def forget(self, watcher: Watcher) -> None:
        self._ranges.pop(watcher, None)
        same_key = self._single.get(watcher.key, {})
        same_key.pop(watcher, None)
        if not same_key:
            self._single.pop(watcher.key, None)

    def publish(self, revision: int, events: Sequence[Event]) -> None:
        for watcher in self._ranges:
            wanted = [event for event in events if watcher.wants(event)]
            if wanted:
                watcher.offer(revision, events if len(wanted) == len(events) else wanted)
        if self._single:
            self._publish_single(revision, events)

    def _publish_single(self, revision: int, events: Sequence[Event]) -> None:
        for event in events:
            alone = (event,)
            for watcher in self._single.get(event.kv.key, ()):
                if watcher.wants(event):
                    watcher.offer(revision, alone)

    def batch(self, revision: int, events: Sequence[Event], prev_kv: bool) -> WatchBatch:
        """Watchers that want the very same events share a batch, so that it is packed once."""
        made_of, batch = self._made.get(prev_kv, (None, None))
        if batch is None or made_of is not events:
            told = events if prev_kv else [event._replace(prev_kv=None) for event in events]
            batch = WatchBatch(revision, told)
            self._made[prev_kv] = events, batch
        return batch

    def packed(self, batch: WatchBatch) -> bytes:
        """The answer that tells it (see `wire.success`)."""
        if batch is not self._packed[0]:
            self._packed = batch, wire.success(batch)
        return self._packed[1]

    def reset(self) -> None:
        """Tell all watchers that the store was replaced."""
        for watcher in [*self._ranges, *(w for same in self._single.values() for w in same)]:
            watcher.reset()
