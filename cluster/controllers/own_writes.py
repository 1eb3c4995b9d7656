"""What a controller has written and its cache does not show yet.

Deciding on such a cache would repeat the write, or break a limit: a ReplicaSet that was just made
or grown does not count. Where names of what is made are not chosen at random, versions say enough;
compare `expectations`, for pods.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from actors.seams import Clock
from cluster.client import Informer
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

TIMEOUT_S = 10.0
"""After this the cache is believed again: a write without an answer may not have happened."""


@dataclass(frozen=True)
class _Pending:
    owner: str
    version: int
    since_s: float


class OwnWrites:
    """Of the objects that `informer` follows, by the key of who they are written for."""

    def __init__(self, informer: Informer, clock: Clock) -> None:
        self._informer, self._clock = informer, clock
        self._pending: dict[str, _Pending] = {}
        informer.subscribe(self._observe)

    def behind(self, owner: str) -> bool:
        """Whether the cache lacks something that was written for this owner."""
        limit_s = self._clock.now() - TIMEOUT_S
        return any(p.owner == owner and p.since_s > limit_s for p in self._pending.values())

    async def write(self, owner: str, obj: Object, writing: Awaitable[Object]) -> Object:
        """Carry out a write of `obj`, which has its resourceVersion if it is there already."""
        key = meta.key(obj)
        self._expect(owner, key, _version(obj) + 1)
        try:
            new = await writing
        except ApiError as error:
            if error.code < 500:  # It was refused; otherwise it may have happened.
                self._pending.pop(key, None)
            raise
        self._expect(owner, key, _version(new))
        return new

    def _expect(self, owner: str, key: str, version: int) -> None:
        seen = self._informer.get(key)
        if seen is not None and _version(seen) >= version:
            self._pending.pop(key, None)
        else:
            self._pending[key] = _Pending(owner, version, self._clock.now())

    def _observe(self, kind: str, old: Object | None, new: Object | None) -> None:
        key = meta.key(new or old or {})
        pending = self._pending.get(key)
        if pending and (new is None or _version(new) >= pending.version):
            del self._pending[key]


def _version(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)
