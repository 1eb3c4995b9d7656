"""Job: pods until enough of them have succeeded, or too many have failed.

What the numbers mean is decided in job_view, how they are written in job_status.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.controllers import job_indexes, job_status, pods
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.job_view import (
    FINALIZER,
    End,
    View,
    backoff_s,
    finished_s,
    is_finished,
    is_suspended,
    is_tracked,
)
from cluster.controllers.pod_control import BURST, PodControl, pod_of, raise_first
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

JOBS = "jobs.batch"
ORPHAN = "orphan:"
OWN_MANAGER = "kubernetes.io/job-controller"


@dataclass
class _Failures:
    """Since the last success, to wait longer after each."""

    count: int = 0
    last_s: float = 0.0
    seen: set[str] = field(default_factory=set)


class JobController(Controller):
    name = "job"
    account = "job-controller"
    workers = 16

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._jobs = self.informers.of(JOBS)
        self._control = PodControl(self, self._jobs, "batch/v1", "Job")
        self._untracked: set[str] = set()
        self._failures: dict[str, _Failures] = {}
        self._written: dict[str, int] = {}
        self._control.pods.add_index("job", _job_of)
        self._control.pods.subscribe(self._observe)

    def watches(self) -> Sequence[Watch]:
        return [Watch(JOBS), Watch("pods", self._keys_of_pod)]

    def _keys_of_pod(self, pod: Object) -> Iterable[str]:
        """A tracked pod of no Job, or of one that is gone, is released."""
        keys = list(self._control.keys_of_pod(pod))
        return [*keys, ORPHAN + meta.key(pod)] if self._is_stray(pod) else keys

    def _is_stray(self, pod: Object) -> bool:
        jobs = filter(None, map(self._jobs.get, self._control.keys_of_pod(pod)))
        return is_tracked(pod) and not any(may_have(job, pod) for job in jobs)

    def _observe(self, kind: str, old: Object | None, new: Object | None) -> None:
        if new is None or not is_tracked(new):
            self._untracked.discard((new or old or {})["metadata"]["uid"])

    async def reconcile(self, key: str) -> Result | None:
        if key.startswith(ORPHAN):
            await self._release_stray(key.removeprefix(ORPHAN))
            return None
        job = self._jobs.get(key)
        if job is None:
            self._forget(key)
            await self._release_all(key)
            return None
        if job["spec"].get("managedBy", OWN_MANAGER) != OWN_MANAGER:
            return None
        if int(job["metadata"]["resourceVersion"]) < self._written.get(key, 0):
            return None  # Our own last write is not seen yet: what it counted would count again.
        if is_finished(job):
            self._failures.pop(key, None)
            await self._release(self._control.pods.by_index("controller", job["metadata"]["uid"]))
            return None
        return await self._sync(key, job)

    def _forget(self, key: str) -> None:
        self._control.expected.forget(key)
        self._failures.pop(key, None)
        self._written.pop(key, None)

    async def _sync(self, key: str, job: Object) -> Result | None:
        fresh = self._control.expected.satisfied(key)
        mine = await self._control.claim(job, self._control.candidates(job))
        view = View(job, mine, self._untracked)
        now_s = self.clock.wall()
        status = job_status.begin(job, now_s)
        self._note_failures(key, view)
        end, again, failure = view.end(now_s), None, None
        # What runs is counted by what was asked for: deletions show in the cache only later.
        active, terminating = list(view.active), len(view.terminating)
        if end is not None and fresh:
            await self._control.delete(key, job, active)
            terminating += len(active)
            active = []
        elif fresh and not pods.is_deleting(job):
            try:
                again = await self._manage(key, view, now_s)
            except Exception as error:
                failure = error
        if end is None and fresh and view.is_complete(len(view.active)):
            end = End(
                "SuccessCriteriaMet",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            )
        if end is None and fresh and (word := job_status.note_suspension(job, status, now_s)):
            self.events.event(job, "Normal", word, f"Job {word.lower()}")
        status["active"] = len(active)
        status["ready"] = sum(map(pods.is_ready, active))
        status["terminating"] = terminating
        await self._count(key, view, status, end, fresh)
        if failure is not None:
            raise failure
        return _sooner(again, view.deadline_in_s(now_s) if end is None else None)

    def _note_failures(self, key: str, view: View) -> None:
        """A success starts the back-off afresh, as upstream's backoff store."""
        record = self._failures.setdefault(key, _Failures())
        record.seen &= {p["metadata"]["uid"] for p in view.pods}
        ended = [(finished_s(p), False, p["metadata"]["uid"]) for p in view.new_failed]
        ended += [(finished_s(p), True, p["metadata"]["uid"]) for p in view.new_succeeded]
        for at_s, succeeded, uid in sorted(each for each in ended if each[2] not in record.seen):
            record.seen.add(uid)
            if succeeded:
                record.count = 0
            else:
                record.count += 1
                record.last_s = max(record.last_s, at_s)

    async def _manage(self, key: str, view: View, now_s: float) -> Result | None:
        """Remove or create pods, not both at once; pods removed here count as nothing."""
        surplus = view.active if is_suspended(view.job) else view.surplus(now_s)
        if surplus:
            await self._release(surplus[:BURST])
            await self._control.delete(key, view.job, surplus[:BURST])
            return None
        if is_suspended(view.job) or not view.missing:
            return None
        record = self._failures[key]
        wait_s = record.last_s + backoff_s(record.count) - now_s
        if not view.per_index and record.count and wait_s > 0:
            return Result(wait_s)
        return await self._create(key, view, now_s)

    async def _create(self, key: str, view: View, now_s: float) -> Result | None:
        count = min(view.missing, BURST)
        if not view.indexed:
            prefix = f"{view.job['metadata']['name']}-"
            names = self._control.names(prefix, count)
            await self._control.create(key, view.job, [_pod(view.job, name) for name in names])
            return None
        waits = {index: view.index_wait_s(index, now_s) for index in view.free_indexes()}
        due = [index for index, wait_s in waits.items() if wait_s <= 0][:count]
        new = [self._indexed_pod(view, index) for index in due]
        await self._control.create(key, view.job, new)
        later = [wait_s for wait_s in waits.values() if wait_s > 0]
        return Result(min(later)) if later and len(due) < count else None

    def _indexed_pod(self, view: View, index: int) -> Object:
        base = f"{view.job['metadata']['name']}-{index}"
        pod = _pod(view.job, self._control.name(f"{base}-"))
        metadata = pod["metadata"]
        metadata["generateName"] = f"{base}-"
        marks = {job_indexes.INDEX: str(index)}
        metadata["labels"] = metadata.get("labels", {}) | marks
        if view.per_index:
            marks |= view.index_annotations(index)
        metadata["annotations"] = metadata.get("annotations", {}) | marks
        pod["spec"].setdefault("hostname", base)
        _add_index_variable(pod["spec"])
        return pod

    async def _count(
        self, key: str, view: View, status: Object, end: End | None, fresh: bool
    ) -> None:
        """Enter, write, release, settle, write: in this order a crash costs nothing."""
        job = view.job
        tracked = {p["metadata"]["uid"] for p in view.tracked}
        job_status.settle(status, tracked)
        release, complete = job_status.count(view, status, end)
        now_s = self.clock.wall()
        if end is not None and not _has(status, end.type):
            job_status.put(status, end.type, end.reason, end.message, now_s)
        job = await self._write(key, job, status)
        if release:
            released = await self._release(release)
            status = copy.deepcopy(job["status"])
            job_status.settle(status, tracked - released)
        finished = end is not None and complete and fresh and job_status.may_finish(status)
        if finished and end is not None:
            job_status.put(status, end.final, end.reason, end.message, now_s)
            if end.final == "Complete":
                status["completionTime"] = meta.format_time(now_s)
        await self._write(key, job, status)
        if finished and end is not None:
            self._tell(job, end)

    def _tell(self, job: Object, end: End) -> None:
        if end.final == "Complete":
            self.events.event(job, "Normal", "Completed", "Job completed")
        else:
            self.events.event(job, "Warning", end.reason, end.message)

    async def _write(self, key: str, job: Object, status: Object) -> Object:
        if _plain(status) == _plain(job.get("status") or {}):
            return job
        new = await self.client.update(JOBS, {**job, "status": status}, subresource="status")
        self._written[key] = int(new["metadata"]["resourceVersion"])
        return new

    async def _release(self, chosen: Iterable[Object]) -> set[str]:
        """Take our finalizer off; the uids of the pods that have it no more."""
        found = [pod for pod in chosen if is_tracked(pod)]
        results = await asyncio.gather(*map(self._untrack, found), return_exceptions=True)
        raise_first(results)
        return {pod["metadata"]["uid"] for pod in found}

    async def _untrack(self, pod: Object) -> None:
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"], "$deleteFromPrimitiveList/finalizers": [
            FINALIZER
        ]}}  # fmt: skip
        self._untracked.add(metadata["uid"])
        try:
            await self.client.patch(
                "pods", metadata["name"], patch, metadata["namespace"], kind="strategic"
            )
        except BaseException as error:
            self._untracked.discard(metadata["uid"])
            # Gone, or its name is another pod's by now (the uid in the patch conflicts).
            if not (isinstance(error, ApiError) and error.code in (404, 409, 422)):
                raise

    async def _release_stray(self, key: str) -> None:
        pod = self._control.pods.get(key)
        if pod is not None and self._is_stray(pod):
            owner = next(iter(_job_of(pod)), None)
            await self._release_of(owner, [pod])

    async def _release_all(self, key: str) -> None:
        """Those that a Job left behind; one that it had orphaned no longer tells whose it was."""
        orphans = self._control.pods.by_index("controller", f"orphan/{key.partition('/')[0]}")
        await self._release_of(None, filter(self._is_stray, orphans))
        await self._release_of(key, filter(self._is_stray, self._control.pods.by_index("job", key)))

    async def _release_of(self, key: str | None, strays: Iterable[Object]) -> None:
        """Unless the cache of Jobs is behind: a pod that is let go is never counted."""
        found = list(strays)
        job = await self.informers.ask(JOBS, key) if key and found else None
        await self._release(p for p in found if job is None or not may_have(job, p))


def may_have(job: Object, pod: Object) -> bool:
    """Whether a Job whose name or selector fits has the pod, or may adopt or still count it."""
    reference = meta.controller_of(pod)
    return reference is None or bool(reference["uid"] == job["metadata"]["uid"])


def _job_of(pod: Object) -> list[str]:
    reference = meta.controller_of(pod)
    if reference is None or reference["kind"] != "Job" or not is_tracked(pod):
        return []
    return [f"{meta.namespace(pod)}/{reference['name']}"]


def _pod(job: Object, name: str) -> Object:
    pod = pod_of(job, name)
    pod["metadata"]["finalizers"] = [*pod["metadata"].get("finalizers", ()), FINALIZER]
    return pod


def _add_index_variable(spec: Object) -> None:
    """JOB_COMPLETION_INDEX from the annotation, for containers that do not set it themselves."""
    source = {"fieldRef": {"fieldPath": f"metadata.annotations['{job_indexes.INDEX}']"}}
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        given = container.get("env") or []
        if not any(each["name"] == "JOB_COMPLETION_INDEX" for each in given):
            container["env"] = [*given, {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]


def _has(status: Object, kind: str) -> bool:
    return any(c["type"] == kind for c in status.get("conditions") or ())


def _plain(status: Object) -> Object:
    return {k: v for k, v in status.items() if v}


def _sooner(result: Result | None, wait_s: float | None) -> Result | None:
    if wait_s is None:
        return result
    return Result(max(0.01, wait_s if result is None else min(wait_s, result.after_s)))
