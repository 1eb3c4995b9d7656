"""Below which amount of what a node is under pressure: `memory.available<100Mi`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machinery import quantity

CONDITIONS = {
    "memory.available": "MemoryPressure",
    "nodefs.available": "DiskPressure",
    "nodefs.inodesFree": "DiskPressure",
    "imagefs.available": "DiskPressure",
    "imagefs.inodesFree": "DiskPressure",
    "pid.available": "PIDPressure",
}
RESOURCES = {
    "memory.available": "memory",
    "nodefs.available": "ephemeral-storage",
    "nodefs.inodesFree": "inodes",
    "imagefs.available": "ephemeral-storage",
    "imagefs.inodesFree": "inodes",
    "pid.available": "pids",
}
"""What pods take, by signal; the names are those of messages."""
DEFAULT_HARD = {
    "memory.available": "100Mi",
    "nodefs.available": "5%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "5%",
}
"""Upstream asks for 10 and 15 % of a disk: nodes here share theirs with what else is on it."""


@dataclass(frozen=True)
class Observed:
    """Of one signal, in bytes or pieces."""

    available: int
    capacity: int


@dataclass(frozen=True)
class Threshold:
    """`text` is an amount or a percentage of the capacity; a hard one has no grace period."""

    signal: str
    text: str
    grace_s: float = 0.0
    reclaim: str = "0"
    """How much more than the threshold must be there before it counts as over."""

    @property
    def is_hard(self) -> bool:
        return self.grace_s == 0

    def limit(self, capacity: int) -> int:
        return _amount(self.text, capacity)

    def is_met(self, found: Observed, *, before: bool) -> bool:
        """`before`: whether it was met the last time."""
        limit = self.limit(found.capacity)
        if before:
            limit += _amount(self.reclaim, found.capacity)
        return found.available < limit


def _amount(text: str, capacity: int) -> int:
    if text.endswith("%"):
        return int(capacity * float(text[:-1]) / 100)
    return quantity.value(text)


def parse(config: Mapping[str, Any]) -> tuple[Threshold, ...]:
    """`eviction_hard`, `eviction_soft`, `eviction_soft_grace_s`, `eviction_minimum_reclaim`.

    Raises ValueError for what is no signal, no amount, or a soft threshold without its grace.
    """
    hard = config.get("eviction_hard")
    hard = DEFAULT_HARD if hard is None else hard
    soft, graces = config.get("eviction_soft") or {}, config.get("eviction_soft_grace_s") or {}
    reclaim = config.get("eviction_minimum_reclaim") or {}
    found = []
    for signal, text in hard.items():
        found.append(Threshold(signal, str(text), 0.0, str(reclaim.get(signal, "0"))))
    for signal, text in soft.items():
        if float(graces.get(signal, 0)) <= 0:
            raise ValueError(f"eviction_soft: {signal} needs a grace period")
        found.append(
            Threshold(signal, str(text), float(graces[signal]), str(reclaim.get(signal, "0")))
        )
    for each in found:
        _check(each)
    return tuple(each for each in found if each.text not in ("0", "0%"))


def _check(threshold: Threshold) -> None:
    if threshold.signal not in CONDITIONS:
        known = ", ".join(sorted(CONDITIONS))
        raise ValueError(f"unknown eviction signal {threshold.signal!r}; there are {known}")
    try:
        _amount(threshold.text, 100)
        _amount(threshold.reclaim, 100)
    except ValueError as error:
        raise ValueError(f"eviction threshold of {threshold.signal}: {error}") from None


def kept_free(thresholds: Sequence[Threshold], capacity: Mapping[str, str]) -> dict[str, str]:
    """Of memory and disk, what pods are not offered: they would be ended for using it."""
    found = {}
    names = {"memory.available": "memory", "nodefs.available": "ephemeral-storage"}
    for each in thresholds:
        name = names.get(each.signal)
        if each.is_hard and name and name in capacity:
            found[name] = str(each.limit(quantity.value(capacity[name])))
    return found
