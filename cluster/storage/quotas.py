"""ResourceQuota: the usage is part of the transaction that stores what is used.

So no object is stored that a quota does not count, none is counted that is not stored, what is
deleted is free at once, and two writers, of one server or of several, cannot both have what is
left. Usage is kept in the quota's status; it is counted anew from the watch cache where it is
missing or seems to be used up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from cluster.machinery import quantity, quota, resources, status
from cluster.machinery.quota import Limited, uncovered
from cluster.machinery.resources import Resource
from cluster.storage import encoding, keys
from cluster.storage.cache import ResourceCache
from cluster.storage.feed import Progress
from raftstore.types import Compare, Op, Put, RangeResult, Store

Object = dict[str, Any]
Amounts = dict[str, int]
QUOTAS = resources.find("v1/resourcequotas")
COUNTED_ON_UPDATE = frozenset({"pods", "services", "persistentvolumeclaims"})


@dataclass
class Charge:
    """What a write adds to its transaction."""

    compares: list[Compare] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)


NOTHING = Charge()


class Quotas:
    """`cache`: of quotas; while it knows of none in a namespace, writes there cost nothing more.
    `enabled`: whether anything is counted at all; `limited`: what needs a quota to be created."""

    def __init__(
        self,
        store: Store,
        cache: ResourceCache,
        feed: Progress,
        enabled: bool = True,
        limited: Limited = (),
    ) -> None:
        self._store, self._cache, self._feed, self._enabled = store, cache, feed, enabled
        self._limited = limited if enabled else ()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def charge(
        self, resource: Resource, new: Object | None, old: Object | None, cache: ResourceCache
    ) -> AsyncIterator[Charge]:
        """For a write; `new` is None if it removes the object, `old` if it creates it.

        `cache` holds the objects of the resource. 403 if there is not enough left.
        """
        write = _Write(resource, new, old)
        if self._limited and old is None:
            await self._refuse_uncovered(write)
        if not self._concerns(write) or not any(write.delta().values()):
            yield NOTHING
            return
        namespace = write.namespace
        lock = self._locks.setdefault(namespace, asyncio.Lock())
        async with lock:
            found = await self._store.range(*_bounds(namespace))
            yield await self._charge(write, found, cache)

    async def _refuse_uncovered(self, write: _Write) -> None:
        found = await self._store.range(*_bounds(write.namespace)) if write.namespace else None
        quotas = [encoding.decode(kv.value) for kv in found.kvs] if found is not None else []
        why = uncovered(self._limited, write.resource, write.obj, quotas)
        if why:
            raise status.forbidden(write.resource, write.name, why)

    def _concerns(self, write: _Write) -> bool:
        resource = write.resource
        if not resource.namespaced or not self._enabled or not len(self._cache):
            return False
        changes = write.new is not None and write.old is not None
        if changes and (resource.group or resource.plural not in COUNTED_ON_UPDATE):
            return False
        return self._cache.count(keys.prefix(QUOTAS, write.namespace)) > 0

    async def _charge(self, write: _Write, found: RangeResult, cache: ResourceCache) -> Charge:
        charge = Charge()
        for kv in found.kvs:
            changed = await self._count(write, encoding.decode(kv.value), found.revision, cache)
            if changed is not None:
                charge.compares.append(Compare(kv.key, "mod", "=", kv.mod_revision))
                charge.ops.append(Put(kv.key, encoding.encode(changed)))
        return charge

    async def _count(
        self, write: _Write, found: Object, revision: int, cache: ResourceCache
    ) -> Object | None:
        """The quota with its new usage; None if it does not count the write."""
        if not quota.counts(found, write.resource, write.obj):
            return None
        hard = _parsed((found.get("spec") or {}).get("hard"))
        if write.old is None:
            _refuse_unspecified(write, found, hard)
        delta = {n: a for n, a in write.delta().items() if n in hard and a}
        state = found.setdefault("status", {})
        used = _parsed(state.get("used"))
        if not any(amount > 0 for amount in delta.values()):
            delta = {name: amount for name, amount in delta.items() if name in used}
            if not delta:
                return None
        if any(used.get(n, hard[n] + 1) + a > hard[n] for n, a in delta.items() if a > 0):
            await self._feed.reach(revision)
            used |= _recounted(found, write.resource, delta, cache)
        _refuse_exceeding(write, found, hard, used, delta)
        used |= {name: max(used[name] + amount, 0) for name, amount in delta.items()}
        state["hard"] = dict(found["spec"]["hard"])
        written = state.setdefault("used", {})
        for name in hard.keys() & used.keys():
            written[name] = _text(used[name], found, name)
        return found


@dataclass(frozen=True)
class _Write:
    resource: Resource
    new: Object | None
    old: Object | None

    @property
    def obj(self) -> Object:
        found = self.new or self.old
        assert found is not None
        return found

    @property
    def name(self) -> str:
        return str(self.obj["metadata"].get("name", ""))

    @property
    def namespace(self) -> str:
        return str(self.obj["metadata"].get("namespace", ""))

    def delta(self) -> Amounts:
        """What the write adds, or takes away."""
        found = dict(quota.of(self.resource, self.new)) if self.new else {}
        for name, amount in quota.of(self.resource, self.old).items() if self.old else ():
            found[name] = found.get(name, 0) - amount
        return found


def _bounds(namespace: str) -> tuple[bytes, bytes]:
    prefix = keys.prefix(QUOTAS, namespace)
    return prefix.encode(), keys.prefix_end(prefix)


def _parsed(amounts: dict[str, Any] | None) -> Amounts:
    return {name: quantity.parse(text) for name, text in (amounts or {}).items()}


def _recounted(found: Object, resource: Resource, names: Amounts, cache: ResourceCache) -> Amounts:
    """The usage of these names, from all objects that the quota counts."""
    used = dict.fromkeys(names, 0)
    namespace = found["metadata"]["namespace"]
    for entry in cache.entries(keys.prefix(resource, namespace)):
        obj = entry.decode()
        if not quota.counts(found, resource, obj):
            continue
        for name, amount in quota.of(resource, obj).items():
            if name in used:
                used[name] += amount
    return used


def _refuse_unspecified(write: _Write, found: Object, hard: Amounts) -> None:
    if write.resource.plural != "pods" or write.resource.group:
        return
    missing = quota.unspecified(write.obj, hard)
    if missing:
        shown = "; ".join(f"{name} for: {','.join(who)}" for name, who in missing.items())
        text = f"failed quota: {found['metadata']['name']}: must specify {shown}"
        raise status.forbidden(write.resource, write.name, text)


def _refuse_exceeding(
    write: _Write, found: Object, hard: Amounts, used: Amounts, delta: Amounts
) -> None:
    over = sorted(n for n, a in delta.items() if a > 0 and used[n] + a > hard[n])
    if not over:
        return
    asked, had, most = (
        ",".join(f"{name}={_text(amounts[name], found, name)}" for name in over)
        for amounts in (delta, used, hard)
    )
    text = (
        f"exceeded quota: {found['metadata']['name']}, requested: {asked}, used: {had}, "
        f"limited: {most}"
    )
    raise status.forbidden(write.resource, write.name, text)


def _text(nano: int, found: Object, name: str) -> str:
    """In the notation of the limit: binary where that is."""
    return quantity.format(nano, binary=str(found["spec"]["hard"][name]).endswith("i"))
