"""Which thresholds are met, for how long, and what conditions follow. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cluster.kubelet.eviction.thresholds import CONDITIONS, Observed, Threshold

Observations = Mapping[str, Observed]


@dataclass(frozen=True)
class Pressure:
    """`since`: when each threshold that is met was first so. `seen`: when a condition last held."""

    since: Mapping[Threshold, float] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)

    def after(self, found: Observations, thresholds: Sequence[Threshold], now_s: float) -> Pressure:
        met = [
            each
            for each in thresholds
            if each.signal in found and each.is_met(found[each.signal], before=each in self.since)
        ]
        since = {each: self.since.get(each, now_s) for each in met}
        seen = dict(self.seen) | {CONDITIONS[each.signal]: now_s for each in met}
        return Pressure(since, seen)

    def conditions(self, now_s: float, transition_s: float) -> frozenset[str]:
        """Those that hold, or have held less than `transition_s` ago: they must not flap."""
        now = {CONDITIONS[each.signal] for each in self.since}
        recent = {name for name, at_s in self.seen.items() if now_s - at_s < transition_s}
        return frozenset(now | recent)

    def due(self, now_s: float) -> Threshold | None:
        """The threshold to act on: met for its grace period; memory first, hard before soft."""
        ripe = [each for each, at_s in self.since.items() if now_s - at_s >= each.grace_s]
        order = list(CONDITIONS)
        return min(ripe, key=lambda t: (order.index(t.signal), not t.is_hard), default=None)
