"""Leases."""

from __future__ import annotations

from cluster.machinery.validation.field import Errors, Object


def validate(lease: Object, errors: Errors) -> None:
    """Durations last, and transitions are counted from zero."""
    spec = lease.get("spec") or {}
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        errors.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    transitions = spec.get("leaseTransitions")
    errors.not_negative("spec.leaseTransitions", transitions)
