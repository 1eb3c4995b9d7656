"""Cron schedules, as upstream's parser reads them (robfig/cron's standard form).

Five fields (minute, hour, day of month, month, day of week) of lists, ranges, steps and names,
or `@hourly` and its like, or `@every 1h30m`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: at for at, name in enumerate(MONTHS, 1)}),
    (0, 6, {name: at for at, name in enumerate(DAYS)}),
)
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values of each field; `any_day`, `any_weekday`: a star, which leaves the day to the
    other field. `every_s` is given instead of all that by `@every`.
    """

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    any_weekday: bool = False
    every_s: int = 0


def parse(text: str) -> Schedule:
    """ValueError, with a message for people, for what is no schedule."""
    if text.startswith("@every "):
        return Schedule(every_s=_duration(text.removeprefix("@every ")))
    if text.startswith("@") and text not in MACROS:
        raise ValueError(f"unrecognized descriptor: {text}")
    fields = MACROS.get(text, text).split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: {fields}")
    minutes, hours, days, months, weekdays = (
        _values(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)
    )
    any_day, any_weekday = (fields[at][:1] in ("*", "?") for at in (2, 4))
    return Schedule(minutes, hours, days, months, weekdays, any_day, any_weekday)


def _duration(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"failed to parse duration @every {text}")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return max(hours * 3600 + minutes * 60 + seconds, 1)


def _values(field: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        found |= _range(part, low, high, names)
    return frozenset(found)


def _range(part: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    span, slash, step_text = part.partition("/")
    step = _number(step_text, {}) if slash else 1
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")
    if span in ("*", "?"):
        return set(range(low, high + 1, step))
    first, dash, last = span.partition("-")
    start = _number(first, names)
    end = _number(last, names) if dash else high if slash else start
    if start < low:
        raise ValueError(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    return set(range(start, end + 1, step))


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"failed to parse int from {text}")
    return int(text)
