"""What a Job and its pods amount to: how many succeeded, failed and run, and what ends it. Pure.

As upstream's syncJob. Pods carry a finalizer until they are counted: first their uids are written
to `uncountedTerminatedPods`, then the finalizer goes, then the uids become numbers; so each pod is
counted exactly once wherever the controller stops.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cluster.controllers import job_indexes, pods
from cluster.controllers.job_policies import (
    failure_verdict,
    has_failed,
    index_has_failed,
    replaces_failed_only,
    success_message,
)
from cluster.machinery import meta

Object = dict[str, Any]

FINALIZER = "batch.kubernetes.io/job-tracking"
BACKOFF_S = (10.0, 600.0)


@dataclass(frozen=True)
class End:
    """Why a Job ends: `type` is SuccessCriteriaMet or FailureTarget."""

    type: str
    reason: str
    message: str

    @property
    def final(self) -> str:
        """The condition that follows once every pod is counted."""
        return "Complete" if self.type == "SuccessCriteriaMet" else "Failed"


def is_tracked(pod: Object) -> bool:
    return FINALIZER in meta.finalizers(pod)


def is_finished(job: Object) -> bool:
    return meta.condition_is(job, "Complete") or meta.condition_is(job, "Failed")


def is_suspended(job: Object) -> bool:
    return bool(job["spec"].get("suspend"))


class View:
    """A Job, its pods, and the uids of pods whose finalizer was removed but is still seen."""

    def __init__(self, job: Object, mine: Sequence[Object], untracked: Collection[str]) -> None:
        self.job, self.spec = job, job["spec"]
        self.status: Object = job.get("status") or {}
        self.pods = mine
        self.parallelism = int(self.spec.get("parallelism", 1))
        given = self.spec.get("completions")
        self.completions = None if given is None else int(given)
        self.indexed = self.spec.get("completionMode") == "Indexed"
        self.per_index = self.indexed and self.spec.get("backoffLimitPerIndex") is not None
        uncounted = self.status.get("uncountedTerminatedPods") or {}
        self.uncounted_succeeded = set(uncounted.get("succeeded") or ())
        self.uncounted_failed = set(uncounted.get("failed") or ())
        self.tracked = [p for p in mine if is_tracked(p) and _uid(p) not in untracked]
        self.active = [p for p in mine if pods.is_active(p)]
        self.terminating = [p for p in mine if pods.is_deleting(p) and not pods.is_terminated(p)]

    def index(self, pod: Object) -> int | None:
        return job_indexes.of(pod, self.completions or 0)

    @cached_property
    def valid(self) -> list[Object]:
        """Tracked pods that count: those of an Indexed Job need one of its indexes."""
        return [p for p in self.tracked if not self.indexed or self.index(p) is not None]

    @cached_property
    def new_succeeded(self) -> list[Object]:
        seen = self.uncounted_succeeded
        return [p for p in self.valid if pods.phase(p) == "Succeeded" and _uid(p) not in seen]

    @cached_property
    def new_failed(self) -> list[Object]:
        seen = self.uncounted_failed
        return [p for p in self.valid if has_failed(self.job, p) and _uid(p) not in seen]

    @cached_property
    def counted_indexes(self) -> set[int]:
        return job_indexes.parse(self.status.get("completedIndexes"), self.completions or 0)

    @cached_property
    def succeeded_indexes(self) -> set[int]:
        done = (self.index(p) for p in self.valid if pods.phase(p) == "Succeeded")
        return self.counted_indexes | {index for index in done if index is not None}

    @cached_property
    def failed_indexes(self) -> set[int]:
        """Of a Job with backoffLimitPerIndex."""
        old = job_indexes.parse(self.status.get("failedIndexes"), self.completions or 0)
        new = (self.index(p) for p in self.valid if index_has_failed(self.job, p))
        return old | {index for index in new if index is not None}

    @cached_property
    def succeeded(self) -> int:
        if self.indexed:
            return len(self.succeeded_indexes)
        before = int(self.status.get("succeeded") or 0) + len(self.uncounted_succeeded)
        return before + len(self.new_succeeded)

    @cached_property
    def failed(self) -> int:
        before = int(self.status.get("failed") or 0) + len(self.uncounted_failed)
        return before + sum(failure_verdict(self.job, p).counts for p in self.new_failed)

    @cached_property
    def kept_per_index(self) -> dict[int, Object]:
        """The last failed pod of each index: its finalizer stays until its replacement is seen,
        because it knows how often the index has failed."""
        running = {self.index(p) for p in self.active}
        over = self.succeeded_indexes | self.failed_indexes
        kept: dict[int, Object] = {}
        for pod in sorted(filter(self._has_failed, self.valid), key=job_indexes.all_failures):
            index = self.index(pod)
            if index is not None and index not in over and index not in running:
                kept[index] = pod
        return kept if self.per_index else {}

    def _has_failed(self, pod: Object) -> bool:
        return has_failed(self.job, pod)

    def end(self, now_s: float) -> End | None:
        """Why the Job is over, if it is; what was written before stays true."""
        for kind in ("SuccessCriteriaMet", "FailureTarget"):
            found = meta.condition(self.job, kind)
            if found and found["status"] == "True":
                return End(kind, found.get("reason", ""), found.get("message", ""))
        return self._failure(now_s) or self._index_failure() or self._success_policy()

    def _failure(self, now_s: float) -> End | None:
        for pod in self.tracked:
            verdict = failure_verdict(self.job, pod) if has_failed(self.job, pod) else None
            if verdict and verdict.message:
                return End("FailureTarget", "PodFailurePolicy", verdict.message)
        if self.failed > int(self.spec.get("backoffLimit", 6)) or self._restarts_exceeded():
            message = "Job has reached the specified backoff limit"
            return End("FailureTarget", "BackoffLimitExceeded", message)
        left_s = self.deadline_in_s(now_s)
        if left_s is not None and left_s <= 0:
            message = "Job was active longer than specified deadline"
            return End("FailureTarget", "DeadlineExceeded", message)
        return None

    def _restarts_exceeded(self) -> bool:
        """For pods whose containers are started again in place (restartPolicy OnFailure)."""
        template = self.spec["template"].get("spec") or {}
        if template.get("restartPolicy") != "OnFailure":
            return False
        alive = [p for p in self.pods if pods.phase(p) in ("Running", "Pending")]
        count = sum(
            int(container.get("restartCount") or 0)
            for pod in alive
            for field in ("initContainerStatuses", "containerStatuses")
            for container in (pod.get("status") or {}).get(field) or ()
        )
        limit = int(self.spec.get("backoffLimit", 6))
        return count > 0 if limit == 0 else count >= limit

    def deadline_in_s(self, now_s: float) -> float | None:
        """Time until activeDeadlineSeconds are over; None without them or while suspended."""
        limit, start = self.spec.get("activeDeadlineSeconds"), self.status.get("startTime")
        if limit is None or not start or is_suspended(self.job):
            return None
        return meta.parse_time(start) + float(limit) - now_s

    def _index_failure(self) -> End | None:
        if not self.per_index:
            return None
        count, limit = len(self.failed_indexes), self.spec.get("maxFailedIndexes")
        if limit is not None and count > int(limit):
            message = "Job has exceeded the specified maximal number of failed indexes"
            return End("FailureTarget", "MaxFailedIndexesExceeded", message)
        if count and count + len(self.succeeded_indexes) >= (self.completions or 0):
            return End("FailureTarget", "FailedIndexes", "Job has failed indexes")
        return None

    def _success_policy(self) -> End | None:
        message = success_message(self.job, self.succeeded_indexes) if self.indexed else ""
        return End("SuccessCriteriaMet", "SuccessPolicy", message) if message else None

    def is_complete(self, active: int) -> bool:
        """Enough successes, and nothing runs any more."""
        if active:
            return False
        if self.completions is None:
            return self.succeeded > 0
        return self.succeeded >= self.completions

    @property
    def wanted(self) -> int:
        """How many pods should run."""
        if self.completions is None:
            return len(self.active) if self.succeeded else self.parallelism
        return max(0, min(self.completions - self.succeeded, self.parallelism))

    def surplus(self, now_s: float) -> list[Object]:
        """Pods to remove: second ones of an index, those without one, then the cheapest."""
        extra, rest, seen = [], [], set[int]()
        for pod in sorted(self.active, key=lambda p: p["metadata"]["creationTimestamp"]):
            index = self.index(pod) if self.indexed else None
            if self.indexed and (index is None or index in seen):
                extra.append(pod)
            else:
                rest.append(pod)
                seen |= {index} if index is not None else set()
        count = len(self.active) - self.wanted - len(extra)
        return extra + (pods.to_delete(rest, rest, count, now_s) if count > 0 else [])

    @property
    def missing(self) -> int:
        terminating = len(self.terminating) if replaces_failed_only(self.job) else 0
        return max(0, self.wanted - terminating - len(self.active))

    def free_indexes(self) -> list[int]:
        """Indexes that need a pod, lowest first."""
        busy = self.active + (self.terminating if replaces_failed_only(self.job) else [])
        taken = {self.index(pod) for pod in busy} | self.succeeded_indexes
        taken |= self.failed_indexes if self.per_index else set()
        return [index for index in range(self.completions or 0) if index not in taken]

    def index_wait_s(self, index: int, now_s: float) -> float:
        """How long the next pod of this index must wait after the last one's failure."""
        last = self.kept_per_index.get(index)
        if last is None:
            return 0.0
        return finished_s(last) + backoff_s(job_indexes.all_failures(last) + 1) - now_s

    def index_annotations(self, index: int) -> dict[str, str]:
        """What the next pod of this index says about the failures before it."""
        last = self.kept_per_index.get(index)
        counts = failure_verdict(self.job, last).counts if last else False
        before = job_indexes.failures(last) if last else 0
        ignored = job_indexes.all_failures(last) - before if last else 0
        ignored += bool(last) and not counts
        found = {job_indexes.FAILURES: str(before + counts)}
        return found | ({job_indexes.IGNORED_FAILURES: str(ignored)} if ignored else {})


def backoff_s(failures: int) -> float:
    """10 s after the first failure, twice as long after each more, 10 minutes at most."""
    first_s, limit_s = BACKOFF_S
    return min(first_s * 2.0 ** min(failures - 1, 30), limit_s) if failures > 0 else 0.0


def finished_s(pod: Object) -> float:
    """When it ended: its last container's end, else its Ready condition's, else its deletion."""
    status = pod.get("status") or {}
    ends = [
        (each.get("state") or {}).get("terminated", {}).get("finishedAt")
        for each in status.get("containerStatuses") or ()
    ]
    if ends and all(ends):
        return max(map(meta.parse_time, ends))
    ready = meta.condition(pod, "Ready") or {}
    metadata = pod["metadata"]
    known = ready.get("lastTransitionTime") or metadata.get("deletionTimestamp")
    return meta.parse_time(known or metadata["creationTimestamp"])


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])
