"""The scheduling cycle: filters rule nodes out, scores rank what remains. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns import Columns, Mask
from cluster.scheduler.requests import PodRequest

Scores = NDArray[np.int64]
MAX_SCORE = 100


@dataclass(frozen=True)
class Rejection:
    """Nodes that one plugin rules out for one reason."""

    nodes: Mask
    reason: str


class FilterPlugin(Protocol):
    """`resolvable`: removing pods from a node could help, so preemption would be considered."""

    name: str
    resolvable: bool

    def reject(self, columns: Columns, pod: PodRequest) -> Sequence[Rejection]: ...


class ScorePlugin(Protocol):
    name: str

    def score(self, columns: Columns, pod: PodRequest, feasible: Mask) -> Scores | None:
        """0 to 100 per node (only feasible ones count); None if it has no opinion."""
        ...


@dataclass(frozen=True)
class Profile:
    """Filters in order, scores with their weights."""

    filters: tuple[FilterPlugin, ...]
    scores: tuple[tuple[ScorePlugin, int], ...]
    name: str = "default-scheduler"


@dataclass(frozen=True)
class Decision:
    """The best nodes (equally good; pick any), or why there is none."""

    best: tuple[str, ...]
    node_count: int
    feasible_count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    resolvable_count: int = 0

    @property
    def message(self) -> str:
        """As kube-scheduler words it."""
        if not self.node_count:
            return "no nodes available to schedule pods"
        head = f"0/{self.node_count} nodes are available"
        reasons = ", ".join(sorted(f"{n} {reason}" for reason, n in self.reasons.items()))
        return f"{head}: {reasons}. preemption: {head}: {self._preemption()}."

    def _preemption(self) -> str:
        unhelpful = self.node_count - self.resolvable_count
        parts = [
            f"{unhelpful} Preemption is not helpful for scheduling" if unhelpful else "",
            f"{self.resolvable_count} No preemption victims found for incoming pod"
            if self.resolvable_count
            else "",
        ]
        return ", ".join(sorted(part for part in parts if part))


def decide(columns: Columns, pod: PodRequest, profile: Profile) -> Decision:
    """One scheduling cycle. A node counts for the first filter that rejects it, with all of
    that filter's reasons."""
    feasible: Mask = np.ones(len(columns), np.bool_)
    reasons: Counter[str] = Counter()
    resolvable = 0
    for plugin in profile.filters:
        left = feasible.copy()
        for rejection in plugin.reject(columns, pod):
            count = int(np.count_nonzero(rejection.nodes & feasible))
            if count:
                reasons[rejection.reason] += count
            left &= ~rejection.nodes
        if plugin.resolvable:
            resolvable += int(np.count_nonzero(feasible & ~left))
        feasible = left
    if not feasible.any():
        return Decision((), len(columns), 0, reasons, resolvable)
    best = _best(columns, pod, profile, feasible)
    return Decision(best, len(columns), int(np.count_nonzero(feasible)), reasons)


def _best(columns: Columns, pod: PodRequest, profile: Profile, feasible: Mask) -> tuple[str, ...]:
    total = total_scores(columns, pod, profile, feasible)
    highest = total[feasible].max()
    return tuple(columns.names[row] for row in np.flatnonzero(feasible & (total == highest)))


def total_scores(columns: Columns, pod: PodRequest, profile: Profile, feasible: Mask) -> Scores:
    """Weighted sums per node."""
    total: Scores = np.zeros(len(columns), np.int64)
    for plugin, weight in profile.scores:
        scores = plugin.score(columns, pod, feasible)
        if scores is not None:
            total += weight * scores
    return total


def normalize(raw: Scores, feasible: Mask, *, reverse: bool = False) -> Scores:
    """Stretch to 0..100 by the highest feasible score (upstream's DefaultNormalizeScore)."""
    highest = int(raw[feasible].max()) if feasible.any() else 0
    if highest == 0:
        return np.full(len(raw), MAX_SCORE if reverse else 0, np.int64)
    scaled: Scores = raw * MAX_SCORE // highest
    return MAX_SCORE - scaled if reverse else scaled
