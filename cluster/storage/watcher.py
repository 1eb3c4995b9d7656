"""Watches on a cache: cursors into its shared window of changes, never queues of their own.

A watcher that cannot keep up costs nothing: it just stays behind. When the window has moved past
its cursor it has missed something, so it is ended with 410 and its client lists again.

Watchers at the same place that select the same share a batch: it is chosen and framed once, and
all that is left to do for each of them is to write bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from cluster.machinery import status
from cluster.storage.entry import Change, EventType
from cluster.storage.selection import Selection

if TYPE_CHECKING:
    from cluster.storage.cache import ResourceCache

Make = Callable[[str, bytes], bytes]
MAX_BATCH = 64
"""Changes looked at in one go, so that one watcher does not hold up the others."""


class Batch:
    """The selected changes of a piece of the window, in order. Shared and immutable."""

    __slots__ = ("_joined", "revision", "selected")

    def __init__(self, selected: Sequence[tuple[EventType, Change]], revision: int) -> None:
        """`revision`: that of the last change that was looked at."""
        self.selected, self.revision = selected, revision
        self._joined: dict[Hashable, bytes] = {}

    def joined(self, form: Hashable, make: Make) -> bytes:
        """All events framed in a form, as one piece of bytes; made on first use."""
        found = self._joined.get(form)
        if found is None:
            frames = [change.frame(form, type_, make) for type_, change in self.selected]
            found = self._joined[form] = b"".join(frames)
        return found


Deliver = Callable[[Batch], None]


class Watcher:
    """`deliver` is called with what is selected, in order; `ended` once, at most.

    Nothing is delivered while `ready()` is false; call `resume` when it is true again.
    """

    def __init__(
        self,
        cache: ResourceCache,
        selection: Selection,
        revision: int,
        deliver: Deliver,
        ended: Callable[[status.ApiError], None],
        ready: Callable[[], bool],
    ) -> None:
        self.selection, self.revision = selection, revision
        self._cache, self._deliver, self._ended, self._ready = cache, deliver, ended, ready
        self.sequence = cache.sequence_after(revision)
        self._future = revision if revision > cache.changed_revision else 0

    @property
    def caught_up(self) -> bool:
        """Whether every change of the cache has been looked at."""
        return self.sequence >= self._cache.end_sequence

    def resume(self) -> None:
        """Deliver what has happened since the cursor, while the client takes it."""
        if self.sequence < self._cache.first_sequence:
            self.end(status.gone(f"too old resource version: {self.revision}"))
            return
        while not self.caught_up and self._ready():
            end = min(self._cache.end_sequence, self.sequence + MAX_BATCH)
            self._take(self._cache.batch(self.sequence, end, self.selection), end)

    def _take(self, batch: Batch, end: int) -> None:
        if self._future:
            batch = _later(batch, self._future)
            self._future = self._future if batch.revision < self._future else 0
        self.sequence = end
        self.revision = max(self.revision, batch.revision)
        if batch.selected:
            self._deliver(batch)

    def end(self, error: status.ApiError) -> None:
        """Stop for good; the client is told why."""
        self.close()
        self._ended(error)

    def close(self) -> None:
        """Forget this watch; nothing is called any more."""
        self._cache.forget(self)


def _later(batch: Batch, revision: int) -> Batch:
    selected = [each for each in batch.selected if each[1].revision > revision]
    return Batch(selected, batch.revision)
