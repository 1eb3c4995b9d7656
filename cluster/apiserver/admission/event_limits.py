"""EventRateLimit: events (core/v1) per second, of the server, a namespace, a user or an object.

Configuration of eventratelimit.admission.k8s.io/v1alpha1: `limits`, each with a `type` (Server,
Namespace, User, SourceAndObject), `qps`, `burst` and `cacheSize` (how many keys are remembered).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from actors.seams.clock import Clock
from cluster.apiserver.admission.chain import Review
from cluster.machinery import status
from cluster.machinery.token_buckets import TokenBuckets

Object = dict[str, Any]
CACHE_SIZE = 4096
_OBJECT = ("kind", "namespace", "name", "uid", "apiVersion")


def _source_and_object(review: Review) -> Hashable:
    event = review.new or {}
    source, involved = event.get("source") or {}, event.get("involvedObject") or {}
    parts = [source.get("component"), source.get("host"), *(involved.get(n) for n in _OBJECT)]
    return tuple(str(part or "") for part in parts)


KEYS: Mapping[str, Callable[[Review], Hashable]] = {
    "Server": lambda _: "",
    "Namespace": lambda review: review.namespace,
    "User": lambda review: review.user.name,
    "SourceAndObject": _source_and_object,
}


class EventLimits:
    """An admission plugin of the validating phase."""

    def __init__(self, clock: Clock, config: Mapping[str, Any]) -> None:
        """Raises ValueError for a configuration without limits, or of types that there are not."""
        limits = config.get("limits") or ()
        if not limits:
            raise ValueError("EventRateLimit: the configuration has no limits")
        self._limits = [_Limit(clock, limit) for limit in limits]

    async def __call__(self, review: Review) -> None:
        if review.creates("events") is None or review.dry_run:
            return
        refused = [limit for limit in self._limits if not limit.takes(review)]
        if refused:
            text = ", ".join(limit.said(review) for limit in refused)
            raise status.too_many_requests(text)


class _Limit:
    """What one entry of `limits` allows."""

    def __init__(self, clock: Clock, config: Mapping[str, Any]) -> None:
        self._type = str(config.get("type"))
        qps, burst = float(config.get("qps") or 0), float(config.get("burst") or 0)
        if self._type not in KEYS or qps <= 0 or burst <= 0:
            raise ValueError(f"EventRateLimit: {dict(config)} is no limit")
        keys_max = 1 if self._type == "Server" else int(config.get("cacheSize") or CACHE_SIZE)
        self._buckets, self._clock = TokenBuckets(burst, qps, keys_max), clock

    def takes(self, review: Review) -> bool:
        return self._buckets.spend(KEYS[self._type](review), self._clock.now())

    def said(self, review: Review) -> str:
        return f"limit reached on type {self._type} for key {KEYS[self._type](review)}"
