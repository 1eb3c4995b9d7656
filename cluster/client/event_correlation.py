"""Which events to write, as client-go's EventCorrelator: count equal ones, merge similar ones.

Pure: times are given, results are what to write. Limits are client-go's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from cluster.machinery.token_buckets import TokenBuckets

MAX_SIMILAR = 10
SIMILAR_WINDOW_S = 600.0
BURST = 25.0
REFILL_PER_S = 1.0 / 300.0
MAX_KEYS = 4096
"""Entries of each table; the least recently used ones are forgotten."""


@dataclass(frozen=True)
class Occurrence:
    """Something that happened to the object that `reference` names."""

    reference: tuple[tuple[str, str], ...]
    type: str
    reason: str
    message: str

    @property
    def target(self) -> dict[str, str]:
        return dict(self.reference)


@dataclass
class Series:
    """The stored event that equal occurrences are counted on; `name` once it is written."""

    occurrence: Occurrence
    first_s: float
    last_s: float
    count: int = 0
    name: str = ""


@dataclass
class _Similar:
    last_s: float
    messages: set[str] = field(default_factory=set)


class _Recent(OrderedDict[Any, Any]):
    def recall(self, key: Any, new: Any) -> Any:
        value = self.setdefault(key, new)
        self.move_to_end(key)
        while len(self) > MAX_KEYS:
            self.popitem(last=False)
        return value


class Correlator:
    def __init__(self) -> None:
        self._series = _Recent()
        self._similar = _Recent()
        self._tokens = TokenBuckets(BURST, REFILL_PER_S, MAX_KEYS)

    def observe(self, occurrence: Occurrence, now_s: float) -> Series | None:
        """The series to create or update; None when the object has too many events."""
        if not self._tokens.spend(occurrence.reference, now_s):
            return None
        occurrence = self._merge(occurrence, now_s)
        series: Series = self._series.recall(occurrence, Series(occurrence, now_s, now_s))
        series.count += 1
        series.last_s = now_s
        return series

    def _merge(self, occurrence: Occurrence, now_s: float) -> Occurrence:
        """Beyond ten different messages in a window, all further ones count as one event."""
        key = (occurrence.reference, occurrence.type, occurrence.reason)
        similar: _Similar = self._similar.recall(key, _Similar(now_s))
        if now_s - similar.last_s > SIMILAR_WINDOW_S:
            similar.messages.clear()
        similar.last_s = now_s
        if len(similar.messages) < MAX_SIMILAR or occurrence.message in similar.messages:
            similar.messages.add(occurrence.message)
            return occurrence
        message = f"(combined from similar events): {occurrence.message}"
        combined = Occurrence(occurrence.reference, occurrence.type, occurrence.reason, "")
        series: Series = self._series.recall(combined, Series(combined, now_s, now_s))
        series.occurrence = Occurrence(*key, message)
        return combined
