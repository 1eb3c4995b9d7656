"""The status of a Job, counted in steps that lose and double no pod. Pure."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from cluster.controllers import job_indexes, pods
from cluster.controllers.job_policies import failure_verdict, has_failed
from cluster.controllers.job_view import End, View, is_suspended
from cluster.machinery import meta

Object = dict[str, Any]

MAX_UNCOUNTED = 500
"""Uids in the status at once, as upstream's MaxUncountedPods."""


def settle(status: Object, tracked: Collection[str]) -> bool:
    """Uids whose pods have no finalizer any more become numbers. Whether there were any."""
    uncounted = status.setdefault("uncountedTerminatedPods", {})
    changed = False
    for field in ("succeeded", "failed"):
        uids = uncounted.get(field) or []
        left = [uid for uid in uids if uid in tracked]
        if len(left) < len(uids):
            status[field] = int(status.get(field) or 0) + len(uids) - len(left)
            changed = True
        uncounted.pop(field, None)
        if left:
            uncounted[field] = left
    return changed


def count(view: View, status: Object, end: End | None) -> tuple[list[Object], bool]:
    """Enter ended pods as uncounted (indexes at once); the pods to release, and whether all
    that ended are among them."""
    status.setdefault("uncountedTerminatedPods", {})
    release: list[Object] = []
    new_indexes: set[int] = set()
    complete = True
    for pod in sorted(view.tracked, key=lambda p: view.index(p) or 0):
        failed = has_failed(view.job, pod)
        if not _may_release(view, pod, failed, end):
            continue
        release.append(pod)
        _enter(view, status, pod, failed, end, new_indexes)
        uncounted = sum(map(len, status["uncountedTerminatedPods"].values()))
        if len(new_indexes) + uncounted >= MAX_UNCOUNTED:
            complete = False
            break
    if view.indexed:
        done = view.counted_indexes | new_indexes
        status["succeeded"] = len(done)
        if done:
            status["completedIndexes"] = job_indexes.text_of(done)
        if view.per_index:
            status["failedIndexes"] = job_indexes.text_of(view.failed_indexes)
    return release, complete


def _may_release(view: View, pod: Object, failed: bool, end: End | None) -> bool:
    over = view.job["metadata"].get("deletionTimestamp") or end is not None
    if over or pods.phase(pod) == "Succeeded":
        return True
    kept = view.kept_per_index.get(view.index(pod) or 0) if view.per_index else None
    return failed and (kept is None or kept["metadata"]["uid"] != pod["metadata"]["uid"])


def _enter(
    view: View, status: Object, pod: Object, failed: bool, end: End | None, new: set[int]
) -> None:
    uid, uncounted = pod["metadata"]["uid"], status["uncountedTerminatedPods"]
    if view.indexed and view.index(pod) is None:
        return
    if pods.phase(pod) == "Succeeded" and uid not in view.uncounted_failed:
        index = view.index(pod)
        if index is not None:
            new |= {index} - view.counted_indexes
        elif uid not in view.uncounted_succeeded:
            uncounted.setdefault("succeeded", []).append(uid)
        return
    lost = end is not None and end.final == "Failed"
    counts = (failed or lost) and uid not in view.uncounted_failed
    if counts and failure_verdict(view.job, pod).counts:
        uncounted.setdefault("failed", []).append(uid)


def begin(job: Object, now_s: float) -> Object:
    """A copy of the status, with the start time of a Job that runs for the first time."""
    status = copy.deepcopy(job.get("status") or {})
    if not status.get("startTime") and not is_suspended(job):
        status["startTime"] = meta.format_time(now_s)
    return status


def note_suspension(job: Object, status: Object, now_s: float) -> str:
    """Keep the Suspended condition true; the reason of an event if it changed, else ""."""
    present = next((c for c in status.get("conditions") or () if c["type"] == "Suspended"), None)
    suspended = is_suspended(job)
    if present is None and not suspended:
        return ""
    if present is not None and (present["status"] == "True") == suspended:
        return ""
    word = "Suspended" if suspended else "Resumed"
    put(status, "Suspended", f"Job{word}", f"Job {word.lower()}", now_s, suspended)
    if not suspended:
        status["startTime"] = meta.format_time(now_s)
    return word


def put(
    status: Object, kind: str, reason: str, message: str, now_s: float, value: bool = True
) -> None:
    """Add or replace one condition."""
    now = meta.format_time(now_s)
    entry = {
        "type": kind,
        "status": str(value),
        "lastProbeTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    others = [c for c in status.get("conditions") or () if c["type"] != kind]
    status["conditions"] = [*others, entry]


def may_finish(status: Object) -> bool:
    """The last condition waits until every pod has ended and is counted."""
    uncounted = status.get("uncountedTerminatedPods") or {}
    running = any(status.get(field) for field in ("active", "ready", "terminating"))
    return not running and not any(uncounted.values())
