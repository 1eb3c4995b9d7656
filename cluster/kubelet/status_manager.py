"""Brings pod statuses to the API: the newest only, one request per pod at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError
from cluster.kubelet.resizing import CONDITIONS
from cluster.machinery.status import ApiError

Object = dict[str, Any]

log = logging.getLogger(__name__)

_RETRY_S = (0.2, 5.0)
_CONCURRENT_MAX = 16


class StatusManager:
    """A status is never overwritten by an older one, nor given to another pod of that name."""

    def __init__(self, client: Client, seams: Seams) -> None:
        self._client = client
        self._seams = seams
        self._wanted: dict[str, tuple[Object, Object]] = {}
        self._sent: dict[str, Object] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_CONCURRENT_MAX)

    def set(self, pod: Object, status: Object) -> None:
        uid = pod["metadata"]["uid"]
        if self._sent.get(uid) == status and uid not in self._wanted:
            return
        self._wanted[uid] = (pod, status)
        if uid not in self._tasks:
            self._tasks[uid] = asyncio.create_task(self._send_all(uid), name=f"pod status {uid}")

    async def flush(self, uid: str) -> None:
        """Return once everything set for the pod so far has been sent or has become moot."""
        if (task := self._tasks.get(uid)) is not None:
            await asyncio.shield(task)

    def forget(self, uid: str) -> None:
        self._wanted.pop(uid, None)
        self._sent.pop(uid, None)

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, uid: str) -> None:
        delay_s = _RETRY_S[0]
        try:
            while (wanted := self._wanted.get(uid)) is not None:
                if await self._send(uid, *wanted):
                    delay_s = _RETRY_S[0]
                    if self._wanted.get(uid) is wanted:
                        del self._wanted[uid]
                else:
                    await self._seams.clock.sleep(delay_s * self._seams.randomness.uniform(0.5, 1))
                    delay_s = min(_RETRY_S[1], delay_s * 2)
        finally:
            del self._tasks[uid]

    async def _send(self, uid: str, pod: Object, status: Object) -> bool:
        """Whether nothing is left to do about this status."""
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": uid}, "status": _with_removals(status)}
        namespace = metadata.get("namespace", "default")
        try:
            async with self._slots:
                await self._client.patch(
                    "pods",
                    metadata["name"],
                    patch,
                    namespace,
                    kind="strategic",
                    subresource="status",
                )
        except ApiError as error:
            if error.code == 404 or (error.code == 409 and await self._was_replaced(pod)):
                return True
            log.warning("status of pod %s/%s refused: %s", namespace, metadata["name"], error)
            return False
        except ClientError as error:
            log.info("status of pod %s/%s not sent: %s", namespace, metadata["name"], error)
            return False
        self._sent[uid] = status
        return True

    async def _was_replaced(self, pod: Object) -> bool:
        """Whether a conflict means that another pod has the name now."""
        metadata = pod["metadata"]
        try:
            found = await self._client.get("pods", metadata["name"], metadata["namespace"])
        except ApiError as error:
            return error.code == 404
        except ClientError:
            return False
        return bool(found["metadata"]["uid"] != metadata["uid"])


def _with_removals(status: Object) -> Object:
    """Conditions of a resize are there only while they hold: a patch has to take them away."""
    found = status.get("conditions") or []
    held = {condition["type"] for condition in found}
    gone = [{"$patch": "delete", "type": each} for each in CONDITIONS if each not in held]
    return status | {"conditions": [*found, *gone]} if found else status
