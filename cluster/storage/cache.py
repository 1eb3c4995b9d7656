"""The watch cache of one resource: its objects in key order, and a window of recent changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from weakref import WeakValueDictionary

from sortedcontainers import SortedDict

from cluster.machinery import status
from cluster.machinery.resources import Resource
from cluster.storage import keys, views
from cluster.storage.entry import Change, Entry, FieldsOf, read
from cluster.storage.selection import Selection
from cluster.storage.watcher import Batch, Deliver, Watcher

WINDOW_CHANGES = 4096
SHARED_BATCHES = 32
LAST = "\U0010ffff"


class ResourceCache:
    """Fed by `feed.Feed`; read synchronously, so every answer is of one revision.

    `mirrors`: caches of the same objects in other versions, fed along with this one.
    `floor`: watches may start at this revision or later. Changes have sequence numbers, counted
    since the start of this server: `first_sequence` is the oldest that the window still holds.
    `generation` counts how often the cache was loaded as a whole.
    """

    def __init__(self, resource: Resource, fields_of: FieldsOf, window: int = WINDOW_CHANGES):
        self.resource = resource
        self._fields_of = fields_of
        self.form = views.of(resource)
        self.mirrors: list[ResourceCache] = []
        self._entries: Any = SortedDict()
        self._window: deque[Change] = deque()
        self._window_size = window
        self._watchers: dict[Watcher, None] = {}
        self._selections: WeakValueDictionary[Selection, Selection] = WeakValueDictionary()
        self._batches: dict[tuple[int, int, int], tuple[Selection, Batch]] = {}
        self.first_sequence = 0
        self.floor = 0
        self.changed_revision = 0
        self.generation = 0
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def end_sequence(self) -> int:
        return self.first_sequence + len(self._window)

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    # -- feeding -----------------------------------------------------------------------------

    def replace(self, stored: Sequence[tuple[str, bytes, int]], revision: int) -> None:
        """Start afresh from (key, value, mod revision); watches are ended, for history is lost."""
        items = {key: self.entry(key, value, rev) for key, value, rev in stored}
        self._entries = SortedDict(items)
        self.first_sequence = self.end_sequence
        self._window.clear()
        self.generation += 1
        self.floor = self.changed_revision = revision
        for watcher in list(self._watchers):
            watcher.end(status.gone("the watch cache was rebuilt: list again"))
        for mirror in self.mirrors:
            mirror.replace(stored, revision)
        for listener in self._listeners:
            listener()

    def put(self, key: str, stored: bytes, revision: int) -> None:
        """An object was written. The caller calls `notify` after the last of a revision."""
        entry = self.entry(key, stored, revision)
        previous = self._entries.get(key)
        self._entries[key] = entry
        self._remember(Change(key, revision, entry, previous))
        for mirror in self.mirrors:
            mirror.put(key, stored, revision)

    def delete(self, key: str, revision: int) -> None:
        """An object was removed."""
        previous = self._entries.pop(key, None)
        if previous is not None:
            self._remember(Change(key, revision, None, previous))
        for mirror in self.mirrors:
            mirror.delete(key, revision)

    def _remember(self, change: Change) -> None:
        self._window.append(change)
        self.changed_revision = change.revision
        if len(self._window) > self._window_size:
            self.floor = self._window.popleft().revision
            self.first_sequence += 1

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change, for parts of the server that follow a resource."""
        self._listeners.append(listener)

    def end(self, error: status.ApiError) -> None:
        """End all watches: this cache is fed no more."""
        for watcher in list(self._watchers):
            watcher.end(error)

    def notify(self) -> None:
        """Let the watchers see what was added."""
        for listener in self._listeners:
            listener()
        for watcher in list(self._watchers):
            watcher.resume()
        self._batches.clear()
        for mirror in self.mirrors:
            mirror.notify()

    # -- reading -----------------------------------------------------------------------------

    def entry(self, key: str, stored: bytes, revision: int) -> Entry:
        """What the store holds, as this cache shows it."""
        data = self.form.load_now(stored)
        assert data is not None, "versions that need a webhook are fed converted objects"
        return self.shown(key, data, revision)

    def shown(self, key: str, data: bytes, revision: int) -> Entry:
        """An object that is in this cache's version already."""
        return read(key, data, revision, self._fields_of)

    def get(self, key: str) -> Entry | None:
        entry: Entry | None = self._entries.get(key)
        return entry

    def entries(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """In key order, those under a prefix that come after a key."""
        entries = self._entries
        keys_ = entries.irange(after or prefix, prefix + LAST, inclusive=(not after, True))
        return map(entries.__getitem__, keys_)

    def select(self, selection: Selection, after: str = "") -> Iterator[Entry]:
        """Those of a selection, in key order."""
        found = self.entries(selection.prefix, after)
        return filter(selection.matches, found) if selection.selective else found

    def count(self, prefix: str, after: str = "") -> int:
        """How many are under a prefix, after a key."""
        entries = self._entries
        start = entries.bisect_right(after) if after else entries.bisect_left(prefix)
        return int(entries.bisect_right(prefix + LAST) - start)

    # -- watching ----------------------------------------------------------------------------

    def watch(
        self,
        selection: Selection,
        revision: int,
        deliver: Deliver,
        ended: Callable[[status.ApiError], None],
        ready: Callable[[], bool],
    ) -> Watcher:
        """A watcher of what happens after `revision`; 410 if that is no longer known.

        Nothing is delivered before the first `resume`.
        """
        if revision < self.floor:
            raise status.gone(f"too old resource version: {revision} ({self.floor})")
        shared = self._selections.setdefault(selection, selection)
        watcher = Watcher(self, shared, revision, deliver, ended, ready)
        self._watchers[watcher] = None
        return watcher

    def forget(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)

    def sequence_after(self, revision: int) -> int:
        """Of the first change after a revision."""
        newer = 0
        for change in reversed(self._window):
            if change.revision <= revision:
                break
            newer += 1
        return self.end_sequence - newer

    def batch(self, start: int, end: int, selection: Selection) -> Batch:
        """What a selection shows of a piece of the window; shared by all who ask for the same.

        `selection` is that of a watcher: equal ones are the same object.
        """
        place = (start, end, id(selection))
        found = self._batches.get(place)
        if found is not None:
            return found[1]
        if len(self._batches) >= SHARED_BATCHES:
            self._batches.clear()
        changes = self.changes_from(start, end - start)
        batch = Batch(selection.chosen(changes), changes[-1].revision)
        self._batches[place] = selection, batch  # which keeps the selection, and so its id
        return batch

    def changes_from(self, sequence: int, limit: int) -> Sequence[Change]:
        """Changes of the window, oldest first."""
        start = sequence - self.first_sequence
        if len(self._window) - start <= 8:  # usual: the newest few, from the right end
            return [self._window[i] for i in range(start, len(self._window))][:limit]
        return list(islice(self._window, start, start + limit))


def by_prefix(caches: Mapping[Resource, ResourceCache]) -> dict[str, ResourceCache]:
    """The caches that the feed fills, by key prefix; views of the same objects are mirrors."""
    found: dict[str, ResourceCache] = {}
    for resource, cache in caches.items():
        first = found.setdefault(keys.prefix(resource), cache)
        if first is not cache:
            first.mirrors.append(cache)
    return found
