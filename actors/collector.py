"""Python's garbage collector, set for a process that keeps much for long."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000
"""Allocations (less what was freed) between two looks at what is young: some milliseconds each."""
LOOKS_AT_YOUTH = 4
LOOKS_AT_ALL = 1000


def calm() -> None:
    """Look for cycles seldom, and hardly ever among what has lived long.

    A store or a cache keeps millions of objects that are in no cycle. With Python's own thresholds
    a third of a member's work is looking at them again and again, and each full look stops it for
    0.4 s per million keys.
    """
    gc.set_threshold(YOUNG_OBJECTS, LOOKS_AT_YOUTH, LOOKS_AT_ALL)
