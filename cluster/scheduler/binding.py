"""From a decision to a bound pod: reserve, permit, pre-bind, bind, post-bind; or all undone."""

from __future__ import annotations

import logging

from cluster.client import ClientError
from cluster.machinery.status import ApiError
from cluster.scheduler.extenders import Extender
from cluster.scheduler.followed import Followed
from cluster.scheduler.framework.effects import Handle, Unbindable
from cluster.scheduler.framework.profile import Profile
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.queue.queue import Waiting

log = logging.getLogger(__name__)


class Binding:
    """Of one pod. `reserve` belongs to the decision and happens at once; `finish` may take long."""

    def __init__(
        self,
        handle: Handle,
        followed: Followed,
        profile: Profile,
        waiting: Waiting,
        node: str,
        extender: Extender | None = None,
    ) -> None:
        """`extender`: binds in place of the profile's plugins."""
        self._extender = extender
        self._handle, self._followed = handle, followed
        self._profile, self._waiting, self._node = profile, waiting, node

    @property
    def _pod(self) -> PodInfo:
        return self._waiting.pod

    def reserve(self) -> str:
        """Take the node; why it cannot be had, or ""."""
        self._followed.assume(self._pod, self._node)
        try:
            for plugin in self._profile.reserves:
                plugin.reserve(self._handle.columns, self._pod, self._node)
        except Unbindable as error:
            self._undo()
            return str(error)
        return ""

    async def finish(self) -> str:
        """Bind; why the pod is not bound, or ""."""
        pod, node = self._pod, self._node
        try:
            for permit in self._profile.permits:
                await permit.permit(self._handle, pod, node)
            for pre_bind in self._profile.pre_binds:
                await pre_bind.pre_bind(self._handle, pod, node)
            done = await self._bind()
        except (Unbindable, ApiError, ClientError) as error:
            log.info("binding %s to %s failed: %s", pod.key, node, error)
            return self._undo(str(error))
        except BaseException:
            self._undo()
            raise
        if not done:
            return self._undo("the pod is gone or has another node")
        self._followed.queue.finish(self._waiting)
        for post_bind in self._profile.post_binds:
            post_bind.post_bind(self._handle, pod, node)
        return ""

    async def _bind(self) -> bool:
        if self._extender is not None:
            await self._extender.bind(self._pod, self._node)
            return True
        for plugin in self._profile.binds:
            done = await plugin.bind(self._handle, self._pod, self._node)
            if done is not None:
                return done
        raise Unbindable("no plugin binds this pod")

    def _undo(self, reason: str = "") -> str:
        for plugin in reversed(self._profile.reserves):
            plugin.unreserve(self._handle.columns, self._pod, self._node)
        if self._followed.forget(self._pod):
            self._followed.queue.retry(self._waiting)
        else:
            reason = ""
        return reason
