"""Ends containers gracefully: preStop hook, SIGTERM, and SIGKILL when the time is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from cluster.kubelet.handlers import HandlerFailed, Handlers
from cluster.kubelet.runtimes.base import Runtime

Object = dict[str, Any]

log = logging.getLogger(__name__)

_GRACE_AFTER_HOOK_S = 2.0


class ContainerKiller:
    """The killings under way in one pod. A later one counts only if it gives less time."""

    def __init__(self, runtime: Runtime, handlers: Handlers, on_done: Callable[[], None]) -> None:
        self._runtime = runtime
        self._handlers = handlers
        self._on_done = on_done
        self._tasks: dict[str, tuple[float, asyncio.Task[None]]] = {}

    def is_killing(self, container_id: str) -> bool:
        return container_id in self._tasks

    def kill(self, container_id: str, container: Object, pod_ip: str, grace_s: float) -> bool:
        """Whether this is news; returns at once, and `on_done` follows at the end."""
        deadline = asyncio.get_running_loop().time() + grace_s
        known = self._tasks.get(container_id)
        if known is not None:
            if deadline >= known[0] - 0.5:
                return False
            known[1].cancel()
        work = self._kill(container_id, container, pod_ip, grace_s, hook=known is None)
        task = asyncio.create_task(work, name=f"kill {container['name']}")
        self._tasks[container_id] = (deadline, task)
        return known is None

    async def stop(self) -> None:
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _kill(
        self, container_id: str, container: Object, pod_ip: str, grace_s: float, *, hook: bool
    ) -> None:
        began_s = asyncio.get_running_loop().time()
        action = (container.get("lifecycle") or {}).get("preStop")
        if action and hook and grace_s > 0:
            await self._run_hook(action, container, container_id, pod_ip, grace_s)
            spent_s = asyncio.get_running_loop().time() - began_s
            grace_s = max(_GRACE_AFTER_HOOK_S, grace_s - spent_s)
        await self._runtime.end(container_id, grace_s)
        del self._tasks[container_id]
        self._on_done()

    async def _run_hook(
        self, action: Object, container: Object, container_id: str, pod_ip: str, grace_s: float
    ) -> None:
        try:
            async with asyncio.timeout(grace_s):
                await self._handlers.run(action, container, container_id, pod_ip)
        except (HandlerFailed, OSError, TimeoutError) as error:
            log.info("preStop hook of container %s: %s", container["name"], error)
