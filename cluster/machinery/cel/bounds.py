"""The ranges of numbers, durations and timestamps; beyond them there is no value."""

from __future__ import annotations

from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.values import MAX_INT, MAX_UINT, MIN_INT, Duration, Timestamp, UInt

MIN_TIME_NS = -62135596800 * 10**9
MAX_TIME_NS = 253402300800 * 10**9 - 1


def checked_int(value: int) -> int:
    """EvaluationError for what does not fit into 64 bits."""
    if not MIN_INT <= value <= MAX_INT:
        raise EvaluationError("integer overflow")
    return value


def checked_uint(value: int) -> UInt:
    if not 0 <= value <= MAX_UINT:
        raise EvaluationError("unsigned integer overflow")
    return UInt(value)


def checked_duration(ns: int) -> Duration:
    if not MIN_INT <= ns <= MAX_INT:
        raise EvaluationError("duration overflow")
    return Duration(ns)


def checked_time(ns: int) -> Timestamp:
    if not MIN_TIME_NS <= ns <= MAX_TIME_NS:
        raise EvaluationError("timestamp overflow")
    return Timestamp(ns)
