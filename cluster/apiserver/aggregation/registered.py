"""The APIServices that there are, by name and by the paths that they own."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.apiserver.authz.follow import Follow
from cluster.machinery.apiservices import ApiService, parse
from cluster.machinery.apiservices.order import Priority
from cluster.storage.cache import ResourceCache
from cluster.storage.entry import Entry


class Registered:
    """Follows the cache; `generation` changes whenever an APIService does."""

    def __init__(self, cache: ResourceCache) -> None:
        self._by_key: dict[str, ApiService] = {}
        self._roots: dict[str, ApiService] = {}
        self._priorities: dict[tuple[str, str], Priority] = {}
        self._follow = Follow(cache, self._put, self._drop, self._by_key.clear)
        self._generation = 0

    @property
    def generation(self) -> int:
        self._catch_up()
        return self._generation

    @property
    def all(self) -> tuple[ApiService, ...]:
        self._catch_up()
        return tuple(self._by_key.values())

    @property
    def remote(self) -> tuple[ApiService, ...]:
        """Those whose server is another one."""
        self._catch_up()
        return tuple(self._roots.values())

    @property
    def priorities(self) -> Mapping[tuple[str, str], Priority]:
        """By group and version."""
        self._catch_up()
        return self._priorities

    def owner(self, path: str) -> ApiService | None:
        """Who serves `/apis/GROUP/VERSION` and all under it; None: this server, or nobody."""
        self._catch_up()
        if not self._roots or not path.startswith("/apis/"):
            return None
        return self._roots.get("/".join(path.split("/", 4)[:4]))

    def _catch_up(self) -> None:
        if self._follow.catch_up():
            self._generation += 1
            found = self._by_key.values()
            self._roots = {s.root: s for s in found if s.service is not None and s.group}
            self._priorities = {
                (s.group, s.version): Priority(s.group_priority, s.version_priority) for s in found
            }

    def _put(self, entry: Entry) -> None:
        self._by_key[entry.key] = parse(entry.decode())

    def _drop(self, key: str) -> None:
        self._by_key.pop(key, None)
