"""Probe results with their thresholds. Pure: the checks themselves are in `prober`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

Object = dict[str, Any]

KINDS = ("startup", "liveness", "readiness")


@dataclass(frozen=True)
class Settings:
    """Of one probe, with upstream's defaults."""

    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def of(cls, probe: Object) -> Settings:
        return cls(
            float(probe.get("initialDelaySeconds") or 0),
            float(probe.get("periodSeconds") or 10),
            float(probe.get("timeoutSeconds") or 1),
            int(probe.get("successThreshold") or 1),
            int(probe.get("failureThreshold") or 3),
        )


@dataclass(frozen=True)
class Verdict:
    """What the probe says now, and how many checks in a row have said the same."""

    passed: bool
    last: bool | None = None
    run: int = 0


def first(kind: str) -> Verdict:
    """Before any check: alive, but neither started nor ready."""
    return Verdict(passed=kind == "liveness")


def after(verdict: Verdict, succeeded: bool, settings: Settings) -> Verdict:
    """Counts a check in; the verdict turns once its threshold is reached."""
    run = verdict.run + 1 if verdict.last == succeeded else 1
    threshold = settings.success_threshold if succeeded else settings.failure_threshold
    passed = succeeded if run >= threshold else verdict.passed
    return replace(verdict, passed=passed, last=succeeded, run=run)
