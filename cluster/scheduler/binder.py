"""Writing decisions: bindings, conditions and events, concurrently but bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError, EventRecorder, UnknownOutcome
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]


IDENTITY, SEEN = "scheduling.raykube.dev/scheduler", "scheduling.raykube.dev/seen"


class Session:
    """Who binds, in the eyes of the API: the binders of one term share what they know."""

    def __init__(self, name: str) -> None:
        self._name, self._epoch = name, 0

    @property
    def identity(self) -> str:
        return f"{self._name}.{self._epoch}"

    def renew(self) -> None:
        """What was sent under the old identity counts as another's, should it arrive late."""
        self._epoch += 1


class Binder:
    """`bind` returns True only if the pod surely is on the node, False only if surely not.

    Each binding says who binds and which pods it knows of: an API server of this project refuses
    it if others put pods on the node since.
    """

    parallel = 64

    def __init__(
        self,
        client: Client,
        seams: Seams,
        events: EventRecorder,
        session: Session,
        seen: Callable[[], str],
    ) -> None:
        """`seen`: the resource version up to which all pods are known."""
        self._session, self._seen = session, seen
        self._client = client
        self._seams = seams
        self._events = events
        self._slots = asyncio.Semaphore(self.parallel)

    async def bind(self, pod: Object, node: str) -> bool:
        """Raises ApiError when the server refused."""
        async with self._slots:
            bound = await self._bind(pod, node)
        if bound:
            message = f"Successfully assigned {meta.key(pod)} to {node}"
            self._events.event(pod, "Normal", "Scheduled", message)
        return bound

    async def _bind(self, pod: Object, node: str) -> bool:
        metadata = pod["metadata"]
        writer = {IDENTITY: self._session.identity, SEEN: self._seen()}
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                **{k: metadata[k] for k in ("name", "namespace", "uid")},
                "annotations": writer,
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create(
                "pods",
                binding,
                metadata["namespace"],
                subresource="binding",
                name=metadata["name"],
            )
        except UnknownOutcome:
            self._session.renew()
            return await self._was_bound(pod, node)
        return True

    async def find(self, pod: Object) -> Object | None:
        """The pod as it is now; None if it is gone. Raises ApiError, ClientError."""
        metadata = pod["metadata"]
        found = await self._client.find("pods", metadata["name"], metadata["namespace"])
        return found if found and found["metadata"]["uid"] == metadata["uid"] else None

    async def _was_bound(self, pod: Object, node: str) -> bool:
        """No answer came: the node stays taken until the server says what happened."""
        while True:
            with contextlib.suppress(ApiError, ClientError):
                found = await self.find(pod)
                return found is not None and found["spec"].get("nodeName") == node
            await self._seams.clock.sleep(0.5 + self._seams.randomness.random())

    async def report_failure(
        self, pod: Object, message: str, reason: str = "Unschedulable", nominated: str | None = None
    ) -> None:
        """The FailedScheduling event, and PodScheduled=False unless it says so already.

        `nominated`: the node that room is made on ("" takes an older nomination back).
        """
        self._events.event(pod, "Warning", "FailedScheduling", message)
        status: Object = {}
        old = meta.condition(pod, "PodScheduled") or {}
        if (old.get("status"), old.get("reason"), old.get("message")) != ("False", reason, message):
            status["conditions"] = [self._condition("PodScheduled", "False", reason, message, old)]
        before = (pod.get("status") or {}).get("nominatedNodeName") or ""
        if nominated is not None and nominated != before:
            status["nominatedNodeName"] = nominated or None
        if status:
            await self.patch_status(pod, status)

    async def evict(self, victim: Object, preemptor: Object, node: str, scheduler: str) -> None:
        """Mark a pod as disrupted and delete it; it may be gone already."""
        message = f"{scheduler}: preempting to accommodate a higher priority pod"
        condition = self._condition(
            "DisruptionTarget", "True", "PreemptionByScheduler", message, {}
        )
        metadata = victim["metadata"]
        with contextlib.suppress(NotThere):
            await self.patch_status(victim, {"conditions": [condition]})
            async with self._slots:
                await _there(
                    self._client.delete(
                        "pods", metadata["name"], metadata["namespace"], uid=metadata["uid"]
                    )
                )
            uid = preemptor["metadata"]["uid"]
            text = f"Preempted by pod {uid} on node {node}"
            self._events.event(victim, "Normal", "Preempted", text)

    async def patch_status(self, pod: Object, status: Object) -> None:
        """Raises NotThere, ApiError, ClientError."""
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        async with self._slots:
            await _there(
                self._client.patch(
                    "pods",
                    metadata["name"],
                    patch,
                    metadata["namespace"],
                    kind="strategic",
                    subresource="status",
                )
            )

    def _condition(
        self, type_: str, status: str, reason: str, message: str, old: Object
    ) -> dict[str, Any]:
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        since = since or meta.format_time(self._seams.clock.wall())
        told = {"type": type_, "status": status, "reason": reason, "message": message}
        return told | {"lastTransitionTime": since}


class NotThere(Exception):
    """The pod is gone, or another one has its name."""


async def _there(request: Awaitable[Any]) -> None:
    try:
        await request
    except ApiError as error:
        if error.code in (404, 409):
            raise NotThere from error
        raise
