"""Who took a ready pod away: a controller, or the world? The second is noted as a loss."""

from __future__ import annotations

from cluster.machinery import meta
from cluster.simulation.checks.history import Change, History, is_going, is_ready


def taken_by_controller(change: Change, history: History) -> bool:
    """Whether a controller of workloads began to delete a ready pod by this change."""
    if change.kind != "Pod" or change.old is None or not change.begins_to_go:
        return False
    space = history.objects.get(f"namespaces/{meta.namespace(change.old)}")
    if space is None or is_going(space):
        return False
    disrupted = meta.condition_is(change.obj, "DisruptionTarget")
    blamed = change.old["metadata"]["uid"] in history.blamed
    return is_ready(change.old) and not disrupted and not blamed


def note(change: Change, history: History) -> None:
    """A ready pod that is not ready any more, and was not taken by its controller."""
    if change.kind != "Pod" or change.old is None or not is_ready(change.old):
        return
    if change.new is not None and is_ready(change.new):
        return
    if taken_by_controller(change, history):
        return
    reference = meta.controller_of(change.old)
    uids = [reference["uid"]] if reference else []
    owner = history.by_uid.get(uids[0]) if uids else None
    above = meta.controller_of(owner) if owner else None
    for uid in [*uids, *([above["uid"]] if above else [])]:
        history.note_loss(uid, change.now_s)
