"""Jobs: each pod is counted once, nothing is taken back, and no more run than asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import meta
from cluster.simulation.checks.history import Change, History, is_active, is_going, phase

Object = dict[str, Any]
FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


class Jobs:
    def __init__(self) -> None:
        self._succeeded: dict[str, set[str]] = {}
        self._failed: dict[str, set[str]] = {}
        self._released: dict[str, set[str]] = {}
        """By uid of the job: uids of pods that ended in success and were let go."""
        self._going: set[str] = set()
        """Uids of pods that were deleted before they ended: they count as failed."""

    def check(self, change: Change, history: History) -> Iterator[str]:
        if change.kind == "Pod":
            yield from self._pod(change, history)
        elif change.kind == "Job" and change.new is not None:
            yield from self._job(change, change.new)

    def _pod(self, change: Change, history: History) -> Iterator[str]:
        reference = meta.controller_of(change.obj)
        if reference is None or reference["kind"] != "Job":
            return
        job, uid = reference["uid"], change.obj["metadata"]["uid"]
        ended = self._succeeded if phase(change.obj) == "Succeeded" else self._failed
        if is_going(change.obj) and phase(change.obj) != "Succeeded":
            self._going.add(uid)
        if phase(change.obj) in ("Succeeded", "Failed") or is_going(change.obj):
            ended.setdefault(job, set()).add(uid)
        elif change.new is None:
            self._failed.setdefault(job, set()).add(uid)
        if change.old is None:
            yield from self._created(change, job, history)
        elif _is_tracked(change.old) and (change.new is None or not _is_tracked(change.new)):
            yield from self._let_go(change, job, history)

    def _created(self, change: Change, uid: str, history: History) -> Iterator[str]:
        job = history.by_uid.get(uid)
        if job is None:
            yield f"{change.key} was created for a job that never was"
            return
        specs = history.recent_specs(job, change.now_s)
        pods = history.of(uid, "Pod")
        running = sum(map(is_active, pods))
        most = max(int(spec.get("parallelism", 1)) for spec in specs)
        if running > most:
            yield f"{change.key} is running pod {running}, parallelism is {most}"
        goals = [spec.get("completions") for spec in specs]
        done = len(self._succeeded.get(uid, set()) - self._going)
        if None not in goals and running + done > max(int(goal) for goal in goals if goal):
            yield f"{change.key}: {running} run and {done} have succeeded, of {goals}"
        yield from _same_index(change, pods)

    def _let_go(self, change: Change, uid: str, history: History) -> Iterator[str]:
        """A pod that succeeded is counted before its finalizer goes."""
        job = history.alive(uid)
        if job is None or is_going(job) or phase(change.obj) != "Succeeded":
            return
        if change.obj["metadata"]["uid"] in self._going:
            return  # It counted as failed when it was deleted.
        conditions = {c["type"] for c in _conditions(job)}
        if conditions & {"FailureTarget", "Failed"}:
            # Upstream: what has not been seen to end by then counts as failed, however it ends.
            self._failed.setdefault(uid, set()).add(change.obj["metadata"]["uid"])
        if conditions & {"FailureTarget", "Failed", "Complete"}:
            return
        released = self._released.setdefault(uid, set())
        released.add(change.obj["metadata"]["uid"])
        counted, waiting = _counts(job)
        if job["spec"].get("completionMode") != "Indexed" and len(released) > counted + waiting:
            yield f"{change.key} is let go uncounted: {len(released)} > {counted} + {waiting}"

    def _job(self, change: Change, new: Object) -> Iterator[str]:
        uid = new["metadata"]["uid"]
        counted, waiting = _counts(new)
        seen = len(self._succeeded.get(uid, ()))
        if counted + waiting > seen:
            yield f"{change.key} counts {counted} + {waiting} successes, there were {seen}"
        status = new.get("status") or {}
        failed, lost = int(status.get("failed") or 0), len(self._failed.get(uid, ()))
        if failed > lost:
            yield f"{change.key} counts {failed} failures, there were {lost}"
        before = (change.old or {}).get("status") or {}
        if change.old is None or change.old["metadata"]["uid"] != uid:
            return
        for name in ("succeeded", "failed"):
            if int(status.get(name) or 0) < int(before.get(name) or 0):
                yield f"{change.key}: {name} goes from {before[name]} to {status.get(name)}"
        yield from _ended(change, new, before, status)


def _ended(change: Change, new: Object, before: Object, status: Object) -> Iterator[str]:
    ended = {c["type"] for c in before.get("conditions") or () if c["status"] == "True"}
    now = {c["type"] for c in _conditions(new) if c["status"] == "True"}
    final = {"Complete", "Failed"}
    if ended & final and ended & final != now & final:
        yield f"{change.key} had ended ({ended & final}) and has not any more"
    goal = new["spec"].get("completions")
    fresh = "Complete" in now and "Complete" not in ended
    if fresh and goal is not None and int(status.get("succeeded") or 0) < int(goal):
        yield f"{change.key} is complete with {status.get('succeeded')} of {goal}"
    if final <= now:
        yield f"{change.key} is both complete and failed"


def _same_index(change: Change, pods: list[Object]) -> Iterator[str]:
    index = (change.obj["metadata"].get("annotations") or {}).get(INDEX)
    if index is None:
        return
    found = [p for p in pods if (p["metadata"].get("annotations") or {}).get(INDEX) == index]
    if sum(map(is_active, found)) > 1:
        yield f"{change.key}: two pods have index {index}"


def _is_tracked(pod: Object) -> bool:
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def _conditions(job: Object) -> list[Object]:
    return (job.get("status") or {}).get("conditions") or []


def _counts(job: Object) -> tuple[int, int]:
    """(successes counted, pods that are about to be)."""
    status = job.get("status") or {}
    waiting = (status.get("uncountedTerminatedPods") or {}).get("succeeded") or ()
    return int(status.get("succeeded") or 0), len(waiting)
