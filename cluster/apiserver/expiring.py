"""Answers that are remembered for a while: bounded, the oldest are forgotten first."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from actors.seams.clock import Clock

T = TypeVar("T")


class Expiring(Generic[T]):
    """At most `size` entries, each with its own time to live."""

    def __init__(self, clock: Clock, size: int) -> None:
        self._clock, self._size = clock, size
        self._entries: dict[Hashable, tuple[float, T]] = {}

    def get(self, key: Hashable) -> T | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if found[0] <= self._clock.now():
            del self._entries[key]
            return None
        return found[1]

    def put(self, key: Hashable, value: T, ttl_s: float) -> None:
        self._entries.pop(key, None)
        if len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = self._clock.now() + ttl_s, value
