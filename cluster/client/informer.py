"""A local copy of a resource that follows the API, with indexes and change handlers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping

from cluster.client.paths import resource_of
from cluster.client.reflector import Reflector
from cluster.client.rest import Client, Named, Object
from cluster.machinery import meta

log = logging.getLogger(__name__)

Handler = Callable[[str, Object | None, Object | None], None]
Indexer = Callable[[Object], Iterable[str]]


class Informer:
    """Objects read from it are shared with every other reader: copy before changing.

    Handlers get ("add", None, new), ("update", old, new) or ("delete", old, None). They must be
    quick and must not fail; one that raises is logged and does not stop the others.
    """

    def __init__(
        self,
        client: Client,
        resource: Named,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, Indexer] | None = None,
        *,
        metadata_only: bool = False,
    ) -> None:
        self.resource = resource_of(resource)
        self._indexers = dict(indexers or {})
        self._indexes: dict[str, dict[str, dict[str, Object]]] = {n: {} for n in self._indexers}
        self._objects: dict[str, Object] = {}
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        selectors = {
            "label_selector": label_selector,
            "field_selector": field_selector,
            "metadata_only": metadata_only,
        }
        self.reflector = Reflector(
            client, self.resource, namespace, selectors, self._replace, self._apply
        )

    def start(self) -> None:
        """Begin to follow; a second call does nothing."""
        if self._task is None:
            self._task = asyncio.create_task(
                self.reflector.run(), name=f"informer {self.resource.group_resource}"
            )

    async def synced(self) -> None:
        """Return once the first list is in. Raises whatever ended the reflector before that."""
        assert self._task is not None, "not started"
        waiter = asyncio.create_task(self._synced.wait())
        try:
            await asyncio.wait({waiter, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if self._task.done() and not self._synced.is_set():
                self._task.result()
        finally:
            waiter.cancel()

    @property
    def version(self) -> str:
        """Every change up to this resource version has been told; "" while that is unknown."""
        return self.reflector.version

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def get(self, key: str) -> Object | None:
        """By `namespace/name`, or `name` for cluster-scoped resources."""
        return self._objects.get(key)

    def list(self) -> list[Object]:
        return [*self._objects.values()]

    def keys(self) -> Iterable[str]:
        return self._objects.keys()

    def by_index(self, name: str, value: str) -> Iterable[Object]:
        """The objects for which indexer `name` gave `value`."""
        return [*self._indexes[name].get(value, {}).values()]

    def add_index(self, name: str, indexer: Indexer) -> None:
        """Index by another property; an index of that name is kept as it is."""
        if name in self._indexers:
            return
        self._indexers[name] = indexer
        index: dict[str, dict[str, Object]] = {}
        for key, obj in self._objects.items():
            for value in indexer(obj):
                index.setdefault(value, {})[key] = obj
        self._indexes[name] = index

    def subscribe(self, handler: Handler) -> None:
        """Call for every change from now on, after an "add" for everything already known."""
        self._handlers.append(handler)
        for obj in self.list():
            self._call(handler, "add", None, obj)

    def _replace(self, items: Iterable[Object]) -> None:
        listed = {meta.key(item): item for item in items}
        for key in self._objects.keys() - listed.keys():
            self._set(key, None)
        for key, item in listed.items():
            self._set(key, item)
        self._synced.set()

    def _apply(self, kind: str, obj: Object) -> None:
        self._set(meta.key(obj), None if kind == "DELETED" else obj, last=obj)

    def _set(self, key: str, new: Object | None, last: Object | None = None) -> None:
        """Store (or, with None, remove) one object; `last` is its state when it was deleted."""
        old = self._objects.get(key)
        if _version(old) == _version(new):
            return
        self._index(key, old, new)
        if new is None:
            self._objects.pop(key, None)
            self._tell("delete", last or old, None)
        else:
            self._objects[key] = new
            self._tell_of(old, new)

    def _tell_of(self, old: Object | None, new: Object) -> None:
        """An object that was deleted and made again unseen is a deletion and an addition."""
        if old is not None and old["metadata"].get("uid") != new["metadata"].get("uid"):
            self._tell("delete", old, None)
            old = None
        self._tell("add" if old is None else "update", old, new)

    def _tell(self, kind: str, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            self._call(handler, kind, old, new)

    def _call(self, handler: Handler, kind: str, old: Object | None, new: Object | None) -> None:
        try:
            handler(kind, old, new)
        except Exception:
            log.exception("handler of %s failed", self.resource.group_resource)

    def _index(self, key: str, old: Object | None, new: Object | None) -> None:
        for name, indexer in self._indexers.items():
            index = self._indexes[name]
            for value in indexer(old) if old else ():
                index.get(value, {}).pop(key, None)
                if not index.get(value):
                    index.pop(value, None)
            for value in indexer(new) if new else ():
                index.setdefault(value, {})[key] = new  # type: ignore[assignment]


def _version(obj: Object | None) -> str | None:
    return obj["metadata"]["resourceVersion"] if obj else None
