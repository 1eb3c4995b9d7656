"""TTL after finished: Jobs are deleted some time after their end (spec.ttlSecondsAfterFinished)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.controllers.framework import Controller, Result, Watch
from cluster.controllers.job_view import is_finished
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]


class TtlAfterFinishedController(Controller):
    name = "ttl-after-finished"
    account = "ttl-after-finished-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch("jobs.batch")]

    async def reconcile(self, key: str) -> Result | None:
        job = self.informers.of("jobs.batch").get(key)
        left_s = None if job is None else remaining_s(job, self.clock.wall())
        if job is None or left_s is None:
            return None
        if left_s > 0:
            return Result(left_s)
        await self._delete(job)
        return None

    async def _delete(self, job: Object) -> None:
        """The TTL may have been raised meanwhile, so the job is asked for once more."""
        metadata = job["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        try:
            fresh = await self.client.get("jobs.batch", name, namespace)
            left_s = remaining_s(fresh, self.clock.wall())
            if left_s is None or left_s > 0:
                return
            await self.client.delete(
                "jobs.batch", name, namespace, uid=metadata["uid"], propagation="Foreground"
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def remaining_s(job: Object, now_s: float) -> float | None:
    """Until the job may go; None if it has not ended or has no TTL (pure)."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or not is_finished(job) or job["metadata"].get("deletionTimestamp"):
        return None
    kind = "Complete" if meta.condition_is(job, "Complete") else "Failed"
    ended = (meta.condition(job, kind) or {})["lastTransitionTime"]
    return meta.parse_time(ended) + float(ttl) - now_s
