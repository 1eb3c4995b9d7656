"""Which resources this server serves: the built-in ones, and custom ones that come and go.

It joins both for everything that asks what there is: requests, discovery, OpenAPI, metrics.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from cluster.apiserver.context import Kept
from cluster.machinery.resources import Resource

Source = Callable[[str], Awaitable[None]]


class Catalogue:
    """By key, "v1/pods". `generation` changes whenever what is served does."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._sources: dict[str, tuple[str, ...]] = {}
        self._questions: tuple[Resource, ...] = ()
        self._catch_up: Source | None = None
        self._settled: Callable[[], Awaitable[None]] | None = None
        self._listeners: list[Callable[[], None]] = []
        self.generation = 0

    @property
    def kept(self) -> Mapping[str, Kept]:
        """What is served now; the mapping itself stays the same."""
        return self._kept

    @property
    def resources(self) -> tuple[Resource, ...]:
        """In the order in which they came; last those that are asked and never kept."""
        return (*(kept.resource for kept in self._kept.values()), *self._questions)

    def ask(self, questions: Sequence[Resource]) -> None:
        """Resources that are answered at once: reviews."""
        self._questions = tuple(questions)
        self._changed()

    def put(self, source: str, served: Sequence[Kept]) -> None:
        """What one source (a CustomResourceDefinition, say) serves from now on; maybe nothing."""
        for key in self._sources.pop(source, ()):
            self._kept.pop(key, None)
        keys = {_key(kept.resource): kept for kept in served}
        self._kept.update(keys)
        if keys:
            self._sources[source] = tuple(keys)
        self._changed()

    @property
    def storage_versions(self) -> dict[str, str]:
        """The apiVersions in which custom resources are stored, by group resource."""
        found = self._kept.values()
        return {each.resource.group_resource: each.stored_as for each in found if each.stored_as}

    def custom(self, resource: Resource) -> bool:
        """Whether it came by a definition."""
        kept = self._kept.get(_key(resource))
        return kept is not None and kept.schema is not None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever what is served changes."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        self.generation += 1
        for listener in self._listeners:
            listener()

    def follow(self, catch_up: Source, settled: Callable[[], Awaitable[None]]) -> None:
        """`catch_up(key)` is awaited before a resource is said not to exist, and `settled()`
        before it is told what there is.
        """
        self._catch_up, self._settled = catch_up, settled

    async def settled(self) -> None:
        """Wait until everything that this server has heard of is served."""
        if self._settled is not None:
            await self._settled()

    async def find(self, key: str) -> Kept | None:
        """The resource, although this server may not have heard of it yet; None if none is."""
        kept = self._kept.get(key)
        if kept is None and self._catch_up is not None:
            await self._catch_up(key)
            kept = self._kept.get(key)
        return kept


def _key(resource: Resource) -> str:
    return f"{resource.api_version}/{resource.plural}"
