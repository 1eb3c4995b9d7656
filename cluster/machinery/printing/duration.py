"""Ages as kubectl prints them: two units at most, fewer as they grow (duration.HumanDuration)."""

from __future__ import annotations

from cluster.machinery import meta

UNKNOWN = "<unknown>"


def human(seconds: float) -> str:
    """`45s`, `3m12s`, `25m`, `5h3m`, `30h`, `4d2h`, `90d`, `3y10d`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(whole, 0)
    minutes, hours = whole // 60, whole // 3600
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _two(hours // 24, "d", hours % 24, "h")
    days = hours // 24
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def since(time: str | None, now_s: float) -> str:
    """The age of a moment given as an RFC 3339 text."""
    return human(now_s - meta.parse_time(time)) if time else UNKNOWN


def age(obj: meta.Object, now_s: float) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now_s)
