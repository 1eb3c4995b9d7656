"""When a cron schedule runs: the instants whose local time matches it. Pure.

A local time that a change of clocks skips does not happen; one that it repeats happens twice, as
with upstream's parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo

from cluster.machinery.cron import Schedule

HORIZON_DAYS = 5 * 366 + 1
"""A schedule that does not run within five years never does (30 February)."""


def next_after(schedule: Schedule, after_s: float, zone: tzinfo = UTC) -> float | None:
    """The first run later than `after_s` (seconds since the epoch)."""
    if schedule.every_s:
        return after_s // 1 + schedule.every_s
    today = datetime.fromtimestamp(after_s, zone).date()
    for number in range(-1, HORIZON_DAYS):
        for at_s in _runs(schedule, today + timedelta(number), zone):
            if at_s > after_s:
                return at_s
    return None


def last_between(
    schedule: Schedule, earliest_s: float, now_s: float, zone: tzinfo = UTC
) -> float | None:
    """The latest run after `earliest_s` and not after `now_s`."""
    if schedule.every_s:
        count = (now_s - earliest_s // 1) // schedule.every_s
        return earliest_s // 1 + count * schedule.every_s if count > 0 else None
    today = datetime.fromtimestamp(now_s, zone).date()
    first = datetime.fromtimestamp(earliest_s, zone).date()
    for number in range(-1, (today - first).days + 2):
        found = [t for t in _runs(schedule, today - timedelta(number), zone) if t <= now_s]
        if found:
            return found[-1] if found[-1] > earliest_s else None
    return None


def _runs(schedule: Schedule, day: date, zone: tzinfo) -> Iterator[float]:
    if not _matches_day(schedule, day):
        return
    for hour in sorted(schedule.hours):
        instants: set[float] = set()
        for minute in schedule.minutes:
            instants |= _instants(day, hour, minute, zone)
        yield from sorted(instants)


def _matches_day(schedule: Schedule, day: date) -> bool:
    """Day of month or weekday; both where one of them is a star."""
    if day.month not in schedule.months:
        return False
    in_month = day.day in schedule.days
    in_week = (day.weekday() + 1) % 7 in schedule.weekdays
    if schedule.any_day or schedule.any_weekday:
        return in_month and in_week
    return in_month or in_week


def _instants(day: date, hour: int, minute: int, zone: tzinfo) -> set[float]:
    local = datetime(day.year, day.month, day.day, hour, minute)
    found = set()
    for fold in (0, 1):
        at_s = local.replace(tzinfo=zone, fold=fold).timestamp()
        if datetime.fromtimestamp(at_s, zone).replace(tzinfo=None, fold=0) == local:
            found.add(at_s)
    return found
