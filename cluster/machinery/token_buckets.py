"""Token buckets by key: so many at once, then so many a second. Pure; times are given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class TokenBuckets:
    """At most `keys_max` are remembered; the least recently used ones begin anew."""

    def __init__(self, burst: float, per_s: float, keys_max: int) -> None:
        self._burst, self._per_s, self._keys_max = burst, per_s, keys_max
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """What is left, as of when."""

    def spend(self, key: Hashable, now_s: float) -> bool:
        """Take a token, if there is one."""
        left, since_s = self._buckets.pop(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_s)
        allowed = left >= 1
        self._buckets[key] = (left - allowed, now_s)
        if len(self._buckets) > self._keys_max:
            self._buckets.popitem(last=False)
        return allowed
