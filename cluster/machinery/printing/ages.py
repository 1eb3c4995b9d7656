"""How long ago, as kubectl writes it."""

from __future__ import annotations

from cluster.machinery import meta

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def human_duration(seconds: float) -> str:
    """Two units at most, fewer the longer it is (apimachinery's HumanDuration)."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole == -1 else "<invalid>"
    minutes, hours = whole // MINUTE_S, whole // HOUR_S
    days = hours // 24
    if whole < 2 * MINUTE_S:
        return f"{whole}s"
    if minutes < 180:
        return _pair(minutes, "m", whole % 60 if minutes < 10 else 0, "s")
    if hours < 48:
        return _pair(hours, "h", minutes % 60 if hours < 8 else 0, "m")
    if days < 2 * 365:
        return _pair(days, "d", hours % 24 if days < 8 else 0, "h")
    return _pair(days // 365, "y", days % 365 if days < 8 * 365 else 0, "d")


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")


def since(timestamp: str | None, now_s: float) -> str:
    """The age of a time, or "<unknown>" where there is none."""
    return human_duration(now_s - meta.parse_time(timestamp)) if timestamp else "<unknown>"
