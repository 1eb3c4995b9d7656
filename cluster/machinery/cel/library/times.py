"""Parts of timestamps and durations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from cluster.machinery.cel import clock
from cluster.machinery.cel.functions import Overload, declare
from cluster.machinery.cel.values import Duration

_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda t: t.year,
    "getMonth": lambda t: t.month - 1,
    "getDayOfYear": lambda t: t.timetuple().tm_yday - 1,
    "getDayOfMonth": lambda t: t.day - 1,
    "getDate": lambda t: t.day,
    "getDayOfWeek": lambda t: (t.weekday() + 1) % 7,
    "getHours": lambda t: t.hour,
    "getMinutes": lambda t: t.minute,
    "getSeconds": lambda t: t.second,
    "getMilliseconds": lambda t: t.microsecond // 1000,
}


def _part(name: str, read: Callable[[datetime], int]) -> list[Overload]:
    def call(*args: Any) -> int:
        return read(clock.at(*args))

    return [
        declare(f"timestamp->{name}(): int", call),
        declare(f"timestamp->{name}(string): int", call),
    ]


def _truncated(value: Duration, unit_ns: int) -> int:
    whole = abs(value.ns) // unit_ns
    return whole if value.ns >= 0 else -whole


OVERLOADS: list[Overload] = [
    *(overload for name, read in _PARTS.items() for overload in _part(name, read)),
    declare("duration->getHours(): int", lambda d: _truncated(d, 3600 * clock.NS)),
    declare("duration->getMinutes(): int", lambda d: _truncated(d, 60 * clock.NS)),
    declare("duration->getSeconds(): int", lambda d: _truncated(d, clock.NS)),
    declare("duration->getMilliseconds(): int", lambda d: _truncated(d, 10**6)),
]
