"""One watch on a cache: a cursor into the shared window of changes, never a queue of its own.

A watcher that cannot keep up costs nothing: it just stays behind. When the window has moved past
its cursor it has missed something, so it is ended with 410 and its client lists again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cluster.machinery import status
from cluster.storage.entry import Change, EventType
from cluster.storage.selection import Selection

if TYPE_CHECKING:
    from cluster.storage.cache import ResourceCache

Selected = tuple[EventType, Change]
Deliver = Callable[[Sequence[Selected]], None]
MAX_BATCH = 1000
"""Changes looked at in one go, so that one watcher does not hold up the others."""


class Watcher:
    """`deliver` is called with the selected changes, in order; `ended` once, at most.

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
            self._step(self._cache.changes_from(self.sequence, MAX_BATCH))

    def _step(self, changes: Sequence[Change]) -> None:
        selected: list[Selected] = []
        for change in changes:
            if change.revision > self.revision:
                type_ = self.selection.classify(change)
                if type_ is not None:
                    selected.append((type_, change))
        self.sequence += len(changes)
        self.revision = max(self.revision, changes[-1].revision)
        if selected:
            self._deliver(selected)

    def end(self, error: status.ApiError) -> None:
        """Stop for good; the client is told why."""
        self.close()
        self._ended(error)

    def close(self) -> None:
        """Forget this watch; nothing is called any more."""
        self._cache.forget(self)
