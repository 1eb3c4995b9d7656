"""The postStart hook of a container, given up once its pod is to stop."""

from __future__ import annotations

import asyncio
from typing import Any

from cluster.kubelet.handlers import HandlerFailed, Handlers

Object = dict[str, Any]


async def run(
    handlers: Handlers, container: Object, container_id: str, pod_ip: str, stopping: asyncio.Event
) -> str:
    """Why the hook failed, or "". `stopping` ends the wait: then the container is ended anyway."""
    action = container["lifecycle"]["postStart"]
    hook = asyncio.create_task(handlers.run(action, container, container_id, pod_ip))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((hook, stop), return_when=asyncio.FIRST_COMPLETED)
        if hook.done():
            hook.result()
    except (HandlerFailed, OSError) as error:
        return f"PostStartHook failed: {error}"
    finally:
        for task in (hook, stop):
            task.cancel()
        await asyncio.gather(hook, stop, return_exceptions=True)
    return ""
