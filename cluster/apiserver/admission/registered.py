"""What administrators have registered, read from a watch cache and prepared once a version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from cluster.apiserver.authz.follow import Follow
from cluster.storage.cache import ResourceCache
from cluster.storage.entry import Entry

Object = dict[str, Any]
T = TypeVar("T")


class Registered(Generic[T]):
    """All objects of a cache, each as `prepare` makes it, in the order of their names.

    Every API server follows the same store, so several agree as soon as their caches do.
    """

    def __init__(self, cache: ResourceCache, prepare: Callable[[Object], T]) -> None:
        self._prepare = prepare
        self._found: dict[str, T] = {}
        self._sorted: tuple[T, ...] = ()
        self._follow = Follow(cache, self._put, self._drop, self._found.clear)

    def _put(self, entry: Entry) -> None:
        self._found[entry.key] = self._prepare(entry.decode())

    def _drop(self, key: str) -> None:
        self._found.pop(key, None)

    @property
    def all(self) -> Sequence[T]:
        """As of now; cheap while nothing has changed."""
        if self._follow.catch_up():
            self._sorted = tuple(self._found[key] for key in sorted(self._found))
        return self._sorted
