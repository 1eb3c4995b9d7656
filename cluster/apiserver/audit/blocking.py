"""Audit events for a server outside that requests wait for: one at a time, before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver.audit.policy import RECEIVED
from cluster.apiserver.audit.sender import Sender
from cluster.machinery import status

BLOCKING, STRICT = "blocking", "blocking-strict"


class BlockingWebhook:
    """Config: kubeconfig (a file), mode, initial_backoff_s. As upstream's modes of these names:
    a request waits until its events have been taken, or refused too often. `blocking-strict`
    refuses a request (500) whose RequestReceived event cannot be delivered."""

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        self._strict = config["mode"] == STRICT
        self._sender = Sender(seams, config)
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def dropped(self) -> int:
        """Events that were refused to the end."""
        return self._sender.dropped

    def start(self) -> None:
        """Nothing runs by itself."""

    async def stop(self) -> None:
        """What is on its way is given up: its request is, too."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def put(self, event: dict[str, Any]) -> asyncio.Task[None]:
        """Begin to send; the request is to wait for the task, which may raise ApiError."""
        task = asyncio.get_running_loop().create_task(self._send(event))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _send(self, event: dict[str, Any]) -> None:
        taken = await self._sender.send([event])
        if not taken and self._strict and event["stage"] == RECEIVED:
            raise status.internal_error("the audit webhook does not take the event")
