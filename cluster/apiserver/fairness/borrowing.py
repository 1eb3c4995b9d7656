"""How levels lend each other seats (pure): KEP-1040, "Priority levels: borrowing and adjustment".

Each period every level's demand is measured. A level keeps at least what it may not lend, and what
it needs of its own; what is left is divided so that all get the same fraction of what they want.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PERIOD_S = 10.0
SMOOTHING = 0.977
"""How slowly a demand that has gone is forgotten: half of it after 5 minutes."""


@dataclass(frozen=True)
class Observed:
    """A demand over a period, in seats: mean, standard deviation, maximum."""

    mean: float = 0.0
    deviation: float = 0.0
    high: float = 0.0


class Demand:
    """Integrates a demand over time; `set` costs a few additions."""

    __slots__ = ("_area", "_high", "_since_s", "_squares", "_started_s", "_value", "smoothed")

    def __init__(self, now_s: float) -> None:
        self._value, self.smoothed = 0.0, 0.0
        self._since_s = self._started_s = now_s
        self._area = self._squares = self._high = 0.0

    def set(self, value: float, now_s: float) -> None:
        passed_s = now_s - self._since_s
        self._area += self._value * passed_s
        self._squares += self._value * self._value * passed_s
        self._value, self._since_s = value, now_s
        if value > self._high:
            self._high = value

    def end_period(self, now_s: float) -> Observed:
        """What was seen since the last one; `smoothed` follows."""
        self.set(self._value, now_s)
        length_s = now_s - self._started_s
        mean = self._area / length_s if length_s > 0 else self._value
        square = self._squares / length_s if length_s > 0 else mean * mean
        found = Observed(mean, math.sqrt(max(0.0, square - mean * mean)), self._high)
        self._started_s, self._area, self._squares, self._high = now_s, 0.0, 0.0, self._value
        envelope = min(found.high, found.mean + found.deviation)
        self.smoothed = max(envelope, SMOOTHING * self.smoothed + (1 - SMOOTHING) * envelope)
        return found


@dataclass(frozen=True)
class Share:
    """Of one level: the fewest and most seats it may have now, and how many it wants."""

    least: float
    most: float
    wanted: float


def allocate(seats: int, shares: Sequence[Share]) -> list[int] | None:
    """Seats for each: the same fraction of what each wants, within its bounds; None if the bounds
    leave no way to give all seats away.

    The sum of clamped fractions grows with the fraction, so bisection finds it.
    """
    if sum(s.least for s in shares) > seats or sum(s.most for s in shares) < seats:
        return None
    wanted = [max(share.wanted, 1e-9) for share in shares]

    def given(fraction: float) -> list[float]:
        return [
            min(share.most, max(share.least, fraction * want))
            for share, want in zip(shares, wanted, strict=True)
        ]

    low, high = 0.0, max((s.most / w for s, w in zip(shares, wanted, strict=True)), default=0.0)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(given(middle)) < seats else (low, middle)
    return _rounded(given(high), seats)


def _rounded(exact: Sequence[float], seats: int) -> list[int]:
    """Whole seats of the same sum: those cut off most get one more."""
    found = [math.floor(each + 1e-9) for each in exact]
    order = sorted(range(len(exact)), key=lambda at: found[at] - exact[at])
    for at in order[: max(0, seats - sum(found))]:
        found[at] += 1
    return found
