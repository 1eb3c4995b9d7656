"""CronJob: a Job at every time of a schedule, named after that time so that it is made once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from cluster.controllers import adoption
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.job_view import is_finished
from cluster.machinery import cron, cron_times, meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

CRONJOBS, JOBS = "cronjobs.batch", "jobs.batch"
SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MARGIN_S = 0.1
"""Looked at again this long after the time, as upstream's nextScheduleDelta."""


class CronJobController(Controller):
    name = "cronjob"
    account = "cronjob-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._cronjobs = self.informers.of(CRONJOBS)
        self._jobs = self.informers.indexed(JOBS, "controller", adoption.indexer)

    def watches(self) -> Sequence[Watch]:
        return [Watch(CRONJOBS), Watch(JOBS, _owner)]

    async def reconcile(self, key: str) -> Result | None:
        cronjob = self._cronjobs.get(key)
        if cronjob is None:
            return None
        jobs = list(self._jobs.by_index("controller", cronjob["metadata"]["uid"]))
        status = copy.deepcopy(cronjob.get("status") or {})
        await self._follow(cronjob, status, jobs)
        failure, again = None, None
        try:
            again = await self._run(cronjob, status)
        except Exception as error:
            failure = error
        await self._clean(cronjob, jobs)
        if _plain(status) != _plain(cronjob.get("status") or {}):
            new = {**cronjob, "status": status}
            await self.client.update(CRONJOBS, new, subresource="status")
        if failure is not None:
            raise failure
        return again

    async def _follow(self, cronjob: Object, status: Object, jobs: Iterable[Object]) -> None:
        """Jobs that ended or went missing leave the list of active ones."""
        by_uid = {job["metadata"]["uid"]: job for job in jobs}
        kept = []
        for reference in status.get("active") or ():
            job = by_uid.get(reference["uid"]) or await self._fresh(reference)
            if job is None:
                message = f"Active job went missing: {reference['name']}"
                self.events.event(cronjob, "Normal", "MissingJob", message)
            elif is_finished(job):
                ended = "Complete" if meta.condition_is(job, "Complete") else "Failed"
                message = f"Saw completed job: {reference['name']}, condition: {ended}"
                self.events.event(cronjob, "Normal", "SawCompletedJob", message)
            else:
                kept.append(reference)
        status["active"] = kept
        done = [(job.get("status") or {}).get("completionTime") or "" for job in by_uid.values()]
        latest = max([*done, status.get("lastSuccessfulTime") or ""])
        status |= {"lastSuccessfulTime": latest} if latest else {}

    async def _fresh(self, reference: Object) -> Object | None:
        """One that was made a moment ago may not be seen yet, so the server is asked."""
        try:
            job = await self.client.get(JOBS, reference["name"], reference["namespace"])
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        return job if job["metadata"]["uid"] == reference["uid"] else None

    async def _run(self, cronjob: Object, status: Object) -> Result | None:
        spec = cronjob["spec"]
        if cronjob["metadata"].get("deletionTimestamp") or spec.get("suspend"):
            return None
        try:
            schedule, zone = cron.parse(spec["schedule"]), zone_of(spec)
        except (ValueError, OSError) as error:
            message = f"unparseable schedule: {spec['schedule']!r}: {error}"
            self.events.event(cronjob, "Warning", "UnparseableSchedule", message)
            return None
        now_s = self.clock.wall()
        due_s = due_at_s(cronjob, schedule, zone, now_s)
        if due_s is not None:
            await self._start(cronjob, status, due_s, zone, now_s)
        following_s = cron_times.next_after(schedule, now_s, zone)
        return None if following_s is None else Result(following_s - now_s + MARGIN_S)

    async def _start(
        self, cronjob: Object, status: Object, due_s: float, zone: tzinfo, now_s: float
    ) -> None:
        spec = cronjob["spec"]
        deadline_s = spec.get("startingDeadlineSeconds")
        if deadline_s is not None and due_s + float(deadline_s) < now_s:
            when = meta.format_time(due_s)
            message = f"Missed scheduled time to start a job: {when}"
            self.events.event(cronjob, "Warning", "MissSchedule", message)
            return
        policy = spec.get("concurrencyPolicy")
        if policy == "Forbid" and status["active"]:
            message = (
                "Not starting job because prior execution is running and concurrency policy is"
                " Forbid"
            )
            self.events.event(cronjob, "Normal", "JobAlreadyActive", message)
            return
        if policy == "Replace":
            for reference in status["active"]:
                await self._delete(cronjob, reference["name"], reference["uid"])
            status["active"] = []
        job = await self._create(cronjob, job_of(cronjob, due_s, zone))
        if job is not None:
            status["active"] = [*status["active"], _reference(job)]
        status["lastScheduleTime"] = meta.format_time(due_s)

    async def _create(self, cronjob: Object, job: Object) -> Object | None:
        """The job; None if this time's job exists and has ended, or the namespace goes."""
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        try:
            made = await self.client.create(JOBS, job)
        except ApiError as error:
            if "being terminated" in error.message:
                return None
            if error.reason != "AlreadyExists":
                message = f"Error creating job: {error}"
                self.events.event(cronjob, "Warning", "FailedCreate", message)
                raise
            found = await self.client.get(JOBS, name, namespace)
            owner = meta.controller_of(found)
            if owner is None or owner["uid"] != cronjob["metadata"]["uid"]:
                raise
            return None if is_finished(found) else found
        self.events.event(cronjob, "Normal", "SuccessfulCreate", f"Created job {name}")
        return made

    async def _clean(self, cronjob: Object, jobs: Sequence[Object]) -> None:
        if cronjob["metadata"].get("deletionTimestamp"):
            return
        for job in beyond_history(cronjob, jobs):
            await self._delete(cronjob, job["metadata"]["name"], job["metadata"]["uid"])

    async def _delete(self, cronjob: Object, name: str, uid: str) -> None:
        try:
            await self.client.delete(
                JOBS, name, meta.namespace(cronjob), uid=uid, propagation="Background"
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            return
        self.events.event(cronjob, "Normal", "SuccessfulDelete", f"Deleted job {name}")


def zone_of(spec: Object) -> tzinfo:
    """The schedule's time zone, UTC by default. ValueError or OSError for one that is unknown."""
    name = spec.get("timeZone")
    return ZoneInfo(name) if name else UTC


def due_at_s(cronjob: Object, schedule: cron.Schedule, zone: tzinfo, now_s: float) -> float | None:
    """The latest time that has come since the last one that was started (pure)."""
    last = (cronjob.get("status") or {}).get("lastScheduleTime")
    earliest_s = meta.parse_time(last or cronjob["metadata"]["creationTimestamp"])
    deadline_s = cronjob["spec"].get("startingDeadlineSeconds")
    if deadline_s is not None:
        earliest_s = max(earliest_s, now_s - float(deadline_s))
    return cron_times.last_between(schedule, earliest_s, now_s, zone)


def job_of(cronjob: Object, due_s: float, zone: tzinfo) -> Object:
    """The Job of that time (pure)."""
    template = copy.deepcopy(cronjob["spec"]["jobTemplate"])
    given = template.get("metadata") or {}
    local = datetime.fromtimestamp(due_s, zone).isoformat().replace("+00:00", "Z")
    metadata = {
        "name": f"{cronjob['metadata']['name']}-{int(due_s) // 60}",
        "namespace": cronjob["metadata"]["namespace"],
        "labels": given.get("labels") or {},
        "annotations": {**(given.get("annotations") or {}), SCHEDULED: local},
        "ownerReferences": [meta.owner_reference(cronjob)],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}


def beyond_history(cronjob: Object, jobs: Iterable[Object]) -> list[Object]:
    """Ended Jobs that the history limits do not keep, the oldest (pure)."""
    found = []
    limits = {
        "Complete": ("successfulJobsHistoryLimit", 3),
        "Failed": ("failedJobsHistoryLimit", 1),
    }
    for kind, (name, default) in limits.items():
        ended = [job for job in jobs if meta.condition_is(job, kind)]
        ended.sort(key=lambda j: ((j["status"].get("startTime") or ""), j["metadata"]["name"]))
        limit = cronjob["spec"].get(name, default)
        found += ended[: max(0, len(ended) - int(limit))]
    return [job for job in found if not job["metadata"].get("deletionTimestamp")]


def _owner(job: Object) -> Iterable[str]:
    owner = meta.controller_of(job)
    if owner is None or owner["kind"] != "CronJob":
        return []
    return [f"{meta.namespace(job)}/{owner['name']}"]


def _reference(job: Object) -> Object:
    metadata = job["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion")
    return {"apiVersion": "batch/v1", "kind": "Job", **{name: metadata[name] for name in kept}}


def _plain(status: Object) -> Object:
    return {name: value for name, value in status.items() if value}
