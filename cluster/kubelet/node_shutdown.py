"""Graceful node shutdown: the pods end in time, the critical ones last, and the node says so.

Whoever is about to end the machine makes the file `shutdown` in the node's folder (a unit of
systemd in its ExecStop, for instance). Without the file the node takes pods again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence

from actors.seams import Seams
from cluster.kubelet.eviction.manager import Endable
from cluster.kubelet.eviction.ranking import is_critical

log = logging.getLogger(__name__)

FILE = "shutdown"
NOT_READY = "node is shutting down"
REFUSAL = ("NodeShutdown", "Pod was rejected as the node is shutting down.")
_REASON, _MESSAGE = "Terminated", "Pod was terminated in response to imminent node shutdown."
_POLL_S, _STEP_S = 1.0, 0.05


class NodeShutdown:
    """`grace_s` is for all pods, the last `critical_s` of it for the critical ones alone."""

    def __init__(
        self,
        seams: Seams,
        data_dir: str,
        runners: Callable[[], Sequence[Endable]],
        on_change: Callable[[], Awaitable[None]],
        grace_s: float,
        critical_s: float,
    ) -> None:
        self._seams, self._path = seams, os.path.join(data_dir, FILE)
        self._runners, self._on_change = runners, on_change
        self._grace_s, self._critical_s = grace_s, min(critical_s, grace_s)
        self.is_on = os.path.exists(self._path)
        self._task: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str:
        """Why the node is not ready, or ""."""
        return NOT_READY if self.is_on else ""

    @property
    def refusal(self) -> tuple[str, str] | None:
        """(reason, message) for every pod that comes now."""
        return REFUSAL if self.is_on else None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="node shutdown")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        if self.is_on:
            await self._end_pods()
        while True:
            await self._seams.clock.sleep(_POLL_S)
            wanted = os.path.exists(self._path)
            if wanted == self.is_on:
                continue
            self.is_on = wanted
            log.warning("the node %s", "is shutting down" if wanted else "takes pods again")
            await self._on_change()
            if wanted:
                await self._end_pods()

    async def _end_pods(self) -> None:
        rest_s = self._grace_s - self._critical_s
        for critical, time_s in ((False, rest_s), (True, self._critical_s)):
            left = [runner for runner in self._runners() if not runner.is_over]
            chosen = [runner for runner in left if is_critical(runner.pod) == critical]
            for runner in chosen:
                runner.end(_REASON, _MESSAGE, time_s)
            await self._until_over(chosen, time_s)

    async def _until_over(self, chosen: Sequence[Endable], time_s: float) -> None:
        """At most so long, and what the last SIGKILL takes."""
        ends_s = self._seams.clock.now() + time_s + _POLL_S
        while not all(runner.is_over for runner in chosen):
            if self._seams.clock.now() > ends_s:
                return
            await self._seams.clock.sleep(_STEP_S)
