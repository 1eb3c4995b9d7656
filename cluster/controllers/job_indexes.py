"""Completion indexes of an Indexed Job: sets of numbers and their text ("1,3-5,7"). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"


def parse(text: str | None, limit: int) -> set[int]:
    """The numbers below `limit`; parts that are no intervals are left out, as upstream does."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found |= set(range(int(first), min(int(last or first), limit - 1) + 1))
    return {index for index in found if index < limit}


def text_of(indexes: Iterable[int]) -> str:
    """Two neighbours are written "1,2", more of them "1-3"."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] + 1 == index:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(_run(first, last) for first, last in runs)


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def of(pod: Object, completions: int) -> int | None:
    """The pod's index; None if it has none or the Job has no such index."""
    text = _annotation(pod, INDEX)
    return int(text) if text.isdigit() and int(text) < completions else None


def failures(pod: Object) -> int:
    """How often its index had failed, by the Job's rules, before this pod."""
    text = _annotation(pod, FAILURES)
    return int(text) if text.isdigit() else 0


def all_failures(pod: Object) -> int:
    """Those that its rules ignore too; they count for the back-off."""
    text = _annotation(pod, IGNORED_FAILURES)
    return failures(pod) + (int(text) if text.isdigit() else 0)


def _annotation(pod: Object, name: str) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(name, ""))
