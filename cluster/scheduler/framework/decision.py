"""The outcome of a scheduling cycle: a node, or why there is none, as upstream words it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.scheduler.columns import Mask
from cluster.scheduler.framework.plugin import Nomination

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass
class Diagnosis:
    """Why no node will do. `resolvable`: nodes that would fit if enough pods were gone."""

    node_count: int
    reasons: Counter[str] = field(default_factory=Counter)
    refusal: str = ""
    resolvable: Mask | None = None
    plugins: set[str] = field(default_factory=set)
    """Those that rejected a node: one of them has to see a change before another try."""

    def message(self, addition: str = "") -> str:
        """Upstream's FitError; `addition` is what PostFilter plugins had to say."""
        if not self.node_count:
            return "no nodes available to schedule pods"
        parts = [f"0/{self.node_count} nodes are available:"]
        if self.refusal:
            parts.append(f"{self.refusal}.")
        elif self.reasons:
            parts.append(f"{histogram(self.reasons.items())}.")
        return " ".join([*parts, addition] if addition else parts)


def histogram(reasons: Iterable[tuple[str, int]]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons))


@dataclass(frozen=True)
class Decision:
    """`node` is "" if there is none; `feasible_count` nodes would have done."""

    node: str = ""
    feasible_count: int = 0
    diagnosis: Diagnosis | None = None
    nomination: Nomination | None = None

    @property
    def message(self) -> str:
        if self.diagnosis is None:
            return ""
        return self.diagnosis.message(self.nomination.message if self.nomination else "")
