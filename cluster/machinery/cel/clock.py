"""Timestamps and durations as text, and their parts in any time zone (no clock is read)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cluster.machinery.cel.bounds import checked_duration, checked_time
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.values import Duration, Timestamp

NS = 10**9
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,30}))?(?:([Zz])|([+-])(\d\d):(\d\d))"
)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": NS, "m": 60 * NS,
          "h": 3600 * NS}  # fmt: skip
_PART = re.compile(r"(\d+)?(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)")
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_LENGTH = 100


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339."""
    match = _TIMESTAMP.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        parts = [int(p) for p in match.groups()[:6]]
        moment = datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        raise EvaluationError(f'type conversion error from "{text}" to timestamp') from None
    ns = int((match[7] or "").ljust(9, "0")[:9])
    offset_s = 0
    if match[9]:
        offset_s = (int(match[10]) * 3600 + int(match[11]) * 60) * (1 if match[9] == "+" else -1)
    seconds = (moment - _EPOCH) // timedelta(seconds=1) - offset_s
    return checked_time(seconds * NS + ns)


def from_seconds(seconds: int) -> Timestamp:
    return checked_time(seconds * NS)


def format_timestamp(value: Timestamp) -> str:
    """RFC 3339 in UTC, with as many decimals as are needed."""
    seconds, ns = divmod(value.ns, NS)
    whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return f"{whole}{fraction}Z"


def parse_duration(text: str) -> Duration:
    """Go's form: `1h30m`, `-1.5s`, `0`."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return Duration(0)
    total, at = 0, 0
    while at < len(rest) and len(text) <= MAX_LENGTH:
        match = _PART.match(rest, at)
        if match is None or (match[1] is None and not match[2]):
            break
        unit, decimals = _UNITS[match[3]], match[2] or ""
        total += int(match[1] or 0) * unit + int(decimals or 0) * unit // 10 ** len(decimals)
        at = match.end()
    if not rest or at < len(rest):
        raise EvaluationError(f'type conversion error from "{text}" to duration')
    return checked_duration(sign * total)


def duration_seconds(value: Duration) -> str:
    """As CEL writes a duration: seconds, `1.5s`."""
    sign = "-" if value.ns < 0 else ""
    seconds, ns = divmod(abs(value.ns), NS)
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return f"{sign}{seconds}{fraction}s"


def at(value: Timestamp, zone: str = "UTC") -> datetime:
    """The wall clock of a zone: its name or an offset (`-08:00`)."""
    try:
        moment = _EPOCH + timedelta(microseconds=value.ns // 1000)
        return moment.astimezone(_zone(zone))
    except (OverflowError, ValueError) as error:
        raise EvaluationError(f"timestamp overflow: {error}") from None


def _zone(name: str) -> tzinfo:
    match = _OFFSET.fullmatch(name)
    if match is not None:
        minutes = (int(match[2]) * 60 + int(match[3])) * (-1 if match[1] == "-" else 1)
        if abs(minutes) >= 24 * 60:
            raise EvaluationError(f"unknown time zone {name}")
        return timezone(timedelta(minutes=minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise EvaluationError(f"unknown time zone {name}") from None
