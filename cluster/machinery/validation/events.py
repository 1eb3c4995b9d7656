"""Events of both groups: the older rules where there is no eventTime, the newer ones else."""

from __future__ import annotations

from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object

MAX_NOTE_BYTES, MAX_WORD_BYTES = 1024, 128


def validate(event: Object, errors: Errors) -> None:
    """An event stands in the namespace of what it is about."""
    name = "involvedObject" if "involvedObject" in event else "regarding"
    space = (event.get(name) or {}).get("namespace") or ""
    own = (event.get("metadata") or {}).get("namespace") or ""
    if space != own and not (not space and own == "default"):
        errors.invalid(f"{name}.namespace", space, "does not match event.namespace")
    if event.get("eventTime"):
        _reported(event, errors)


def _reported(event: Object, errors: Errors) -> None:
    """Whoever sets eventTime must say who reports, what was done and why."""
    who = "reportingComponent" if "reportingComponent" in event else "reportingController"
    controller = event.get(who)
    if not controller:
        errors.required("reportingController")
    else:
        errors.all_invalid("reportingController", controller, formats.qualified_name(controller))
    for name in ("reportingInstance", "action", "reason"):
        if not event.get(name):
            errors.required(name)
        elif len(event[name].encode()) > MAX_WORD_BYTES:
            errors.invalid(name, event[name], f"can have at most {MAX_WORD_BYTES} characters")
    note = event.get("note") or event.get("message") or ""
    if len(note.encode()) > MAX_NOTE_BYTES:
        errors.invalid("message", note, f"can have at most {MAX_NOTE_BYTES} characters")
