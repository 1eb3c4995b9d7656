"""Crash-loop back-off, pure: 10 s doubling to 300 s, forgotten after a quiet time of twice that.

The rules are those of upstream's kubelet (client-go flowcontrol.Backoff as doBackOff uses it).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    initial_s: float = 10.0
    max_s: float = 300.0


@dataclass(frozen=True)
class Backoff:
    """The delay after the last restart, and when that restart was (wall seconds)."""

    delay_s: float
    restarted_at_s: float


def _expired(backoff: Backoff, ended_at_s: float, limits: Limits) -> bool:
    return ended_at_s - backoff.restarted_at_s > 2 * limits.max_s


def restart_at_s(backoff: Backoff | None, ended_at_s: float, limits: Limits) -> float:
    """When a container that ended at `ended_at_s` may start again; the first time at once."""
    if backoff is None or _expired(backoff, ended_at_s, limits):
        return ended_at_s
    return ended_at_s + backoff.delay_s


def after_restart(
    backoff: Backoff | None, ended_at_s: float, now_s: float, limits: Limits
) -> Backoff:
    """What to remember about a restart at `now_s` of a container that ended at `ended_at_s`."""
    if backoff is None or _expired(backoff, ended_at_s, limits):
        return Backoff(limits.initial_s, now_s)
    return Backoff(min(backoff.delay_s * 2, limits.max_s), now_s)
