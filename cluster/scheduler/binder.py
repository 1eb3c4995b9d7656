"""Writing decisions: bindings, conditions and events, concurrently but bounded."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError, EventRecorder, UnknownOutcome
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]


class Binder:
    """`bind` returns True only if the pod surely is on the node, False only if surely not."""

    parallel = 64

    def __init__(self, client: Client, seams: Seams, events: EventRecorder) -> None:
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
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {k: metadata[k] for k in ("name", "namespace", "uid")},
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
            return await self._was_bound(pod, node)
        return True

    async def _was_bound(self, pod: Object, node: str) -> bool:
        """No answer came: the node stays taken until the server says what happened."""
        metadata = pod["metadata"]
        while True:
            try:
                found = await self._client.get("pods", metadata["name"], metadata["namespace"])
            except ApiError as error:
                if error.code == 404:
                    return False
            except ClientError:
                pass
            else:
                same = found["metadata"]["uid"] == metadata["uid"]
                return same and (found.get("spec") or {}).get("nodeName") == node
            await self._seams.clock.sleep(0.5 + self._seams.randomness.random())

    async def report_failure(self, pod: Object, message: str) -> None:
        """The FailedScheduling event, and PodScheduled=False unless it says so already."""
        self._events.event(pod, "Warning", "FailedScheduling", message)
        old = meta.condition(pod, "PodScheduled") or {}
        if (old.get("status"), old.get("message")) == ("False", message):
            return
        new = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        since = old.get("lastTransitionTime") if old.get("status") == "False" else None
        now = meta.format_time(self._seams.clock.wall())
        new |= {"message": message, "lastTransitionTime": since or now}
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [new]}}
        async with self._slots:
            await self._client.patch(
                "pods",
                metadata["name"],
                patch,
                metadata["namespace"],
                kind="strategic",
                subresource="status",
            )
