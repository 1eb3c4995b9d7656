"""Audit events for a server outside: EventLists, in batches, never in the way of requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver.audit.sender import Sender

BUFFERED, BATCH, MAX_WAIT_S = 10_000, 400, 30.0
QPS, BURST = 10.0, 15
"""Upstream's --audit-webhook-batch-* defaults."""


class AuditWebhook:
    """Config: kubeconfig (a file), buffer_size, batch_max_size, batch_max_wait_s, throttle_qps,
    throttle_burst, initial_backoff_s.

    What comes when too much waits, and what is refused to the end, is dropped and counted.
    """

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        """Raises OSError without the file."""
        self._seams = seams
        self._sender = Sender(seams, config)
        self._buffered = int(config.get("buffer_size") or BUFFERED)
        self._size = int(config.get("batch_max_size") or BATCH)
        self._wait_s = float(config.get("batch_max_wait_s") or MAX_WAIT_S)
        self._qps = float(config.get("throttle_qps") or QPS)
        self._burst = float(config.get("throttle_burst") or BURST)
        self._waiting: deque[dict[str, Any]] = deque()
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._overflowed = 0

    @property
    def dropped(self) -> int:
        return self._overflowed + self._sender.dropped

    def start(self) -> None:
        self._allowed, self._filled_s = self._burst, self._seams.clock.now()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Send what waits, once, then end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._waiting:
            if not await self._sender.send(self._taken(), attempts=1):
                self._overflowed += len(self._waiting)
                return

    def put(self, event: dict[str, Any]) -> None:
        """Never waits."""
        if len(self._waiting) >= self._buffered:
            self._overflowed += 1
            return
        self._waiting.append(event)
        if len(self._waiting) >= self._size:
            self._full.set()

    def _taken(self) -> list[dict[str, Any]]:
        return [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]

    async def _run(self) -> None:
        while True:
            await self._until_due()
            await self._throttled()
            if self._waiting:
                batch = self._taken()
                try:
                    await self._sender.send(batch)
                except asyncio.CancelledError:  # it goes out with what is left
                    self._waiting.extendleft(reversed(batch))
                    raise

    async def _until_due(self) -> None:
        """Until there is a whole batch, or the wait is over."""
        self._full.clear()
        if len(self._waiting) >= self._size:
            return
        timer = self._seams.clock.call_later(self._wait_s, self._full.set)
        try:
            await self._full.wait()
        finally:
            timer.cancel()

    async def _throttled(self) -> None:
        now_s = self._seams.clock.now()
        passed = (now_s - self._filled_s) * self._qps
        self._allowed, self._filled_s = min(self._burst, self._allowed + passed), now_s
        self._allowed -= 1
        if self._allowed < 0:
            await self._seams.clock.sleep(-self._allowed / self._qps)
