"""Follows a watch cache: what changed since the last look, without reading all of it again."""

from __future__ import annotations

from collections.abc import Callable

from cluster.storage.cache import ResourceCache
from cluster.storage.entry import Entry


class Follow:
    """`put` gets every entry that is new or changed, `drop` the keys that are gone."""

    def __init__(
        self,
        cache: ResourceCache,
        put: Callable[[Entry], None],
        drop: Callable[[str], None],
        clear: Callable[[], None],
    ) -> None:
        self._cache, self._put, self._drop, self._clear = cache, put, drop, clear
        self._generation, self._sequence = -1, 0

    def catch_up(self) -> bool:
        """Whether anything has changed."""
        cache = self._cache
        if cache.generation != self._generation or self._sequence < cache.first_sequence:
            return self._start_afresh()
        if self._sequence == cache.end_sequence:
            return False
        pending = cache.end_sequence - self._sequence
        for change in cache.changes_from(self._sequence, pending):
            if change.entry is None:
                self._drop(change.key)
            else:
                self._put(change.entry)
        self._sequence = cache.end_sequence
        return True

    def _start_afresh(self) -> bool:
        self._clear()
        for entry in self._cache.entries(""):
            self._put(entry)
        self._generation, self._sequence = self._cache.generation, self._cache.end_sequence
        return True
