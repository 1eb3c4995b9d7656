"""DefaultBinder: the pods/binding subresource."""

from __future__ import annotations

from cluster.scheduler.framework.effects import BindPlugin, Handle
from cluster.scheduler.model.pod_info import PodInfo


class DefaultBinder(BindPlugin):
    name = "DefaultBinder"

    async def bind(self, handle: Handle, pod: PodInfo, node: str) -> bool | None:
        return await handle.binder.bind(pod.pod, node)
