"""When to restart, when to give up on a silent actor: pure decisions, no clock and no I/O.

One `Supervised` follows one actor. The supervisor feeds it what happened, and acts on what it
answers. Crash loops back off exponentially (Ray restarts a crashing actor 1.6 times a second for
ever), and an actor that answers no probe is killed (Ray never notices one that is paused).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # in back-off, or held down on purpose
    STOPPED = "stopped"


@dataclass(frozen=True)
class Policy:
    """`start_timeout_s` bounds a start; `probe_misses_max` unanswered probes in a row kill."""

    first_delay_s: float = 0.1
    delay_max_s: float = 30.0
    forgiven_after_s: float = 60.0
    start_timeout_s: float = 60.0
    probe_period_s: float = 1.0
    probe_timeout_s: float = 5.0
    probe_misses_max: int = 3


@dataclass
class Supervised:
    """The story of one actor: its phase, and what its failures so far have earned it."""

    policy: Policy
    phase: Phase = Phase.STOPPED
    restarts: int = 0
    failures_in_a_row: int = 0
    probe_misses: int = 0
    running_since: float = 0.0
    held_until: float = 0.0
    last_error: str = ""

    def starting(self) -> None:
        self.phase = Phase.STARTING
        self.probe_misses = 0

    def started(self, now: float) -> None:
        self.phase = Phase.RUNNING
        self.running_since = now

    def exited(self, now: float, error: str) -> float:
        """It is gone without being told to. Returns the seconds to wait before the next start."""
        if self.phase is Phase.RUNNING and now - self.running_since >= self.policy.forgiven_after_s:
            self.failures_in_a_row = 0
        self.phase = Phase.WAITING
        self.restarts += 1
        self.failures_in_a_row += 1
        self.last_error = error
        backoff_s = min(
            self.policy.first_delay_s * 2.0 ** min(self.failures_in_a_row - 1, 20),
            self.policy.delay_max_s,
        )
        return max(backoff_s, self.held_until - now)

    def probed(self, answered: bool) -> bool:
        """A probe ended. Returns whether the actor must be killed for its silence."""
        self.probe_misses = 0 if answered else self.probe_misses + 1
        return self.probe_misses >= self.policy.probe_misses_max

    def hold(self, until: float) -> None:
        """Do not start it again before `until` (fault injection: a machine that stays off)."""
        self.held_until = until

    def stopped(self) -> None:
        self.phase = Phase.STOPPED
