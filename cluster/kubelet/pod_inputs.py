"""What the containers of one pod are given: objects that it refers to, volumes, mounts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cluster.kubelet.environment import ConfigError
from cluster.kubelet.node import Node
from cluster.kubelet.runtimes.base import Mount
from cluster.kubelet.termination import TerminationMessages
from cluster.kubelet.tokens import TOKENS
from cluster.kubelet.volumes import payload
from cluster.kubelet.volumes.plugin import NotReady, retry_after_s

Object = dict[str, Any]
Objects = dict[tuple[str, str], Object | None]


class PodInputs:
    """`pod`: as it is now. `warn(reason, text)` tells why its volumes are not there."""

    def __init__(
        self,
        node: Node,
        pod: Callable[[], Object],
        messages: TerminationMessages,
        warn: Callable[[str, str], None],
    ) -> None:
        self._node, self._pod, self._messages, self._warn = node, pod, messages, warn
        self.volume_tries = 0
        """Since they were there last, or how often they were waited for in vain."""

    async def fetch(self, references: Iterable[tuple[str, str]]) -> Objects:
        """(kind, name) of ConfigMaps, Secrets and tokens; None for what is not there."""
        namespace = self._pod()["metadata"]["namespace"]
        wanted = sorted(set(references))
        found = await asyncio.gather(*(self._find(kind, namespace, name) for kind, name in wanted))
        return dict(zip(wanted, found, strict=True))

    async def _find(self, kind: str, namespace: str, name: str) -> Object | None:
        if kind == TOKENS:
            return await self._node.tokens.get(self._pod(), name)
        return await self._node.references.get(kind, namespace, name)

    async def set_up_volumes(self, pod: Object) -> bool:
        """Whether all are there."""
        volumes = pod["spec"].get("volumes") or ()
        wanted = {ref for volume in volumes for ref in payload.references(volume)}
        try:
            await self._node.volumes.set_up(pod, await self.fetch(wanted))
        except (ConfigError, NotReady, ValueError, OSError) as error:
            self._warn("FailedMount", f"MountVolume.SetUp failed: {error}")
            return False
        self.volume_tries = 0
        return True

    async def refresh_volumes(self, pod: Object) -> None:
        """Bring them up to date, once the pod has any."""
        uid = pod["metadata"]["uid"]
        if self._node.sandboxes.address(uid) and self._node.runtime.containers(uid):
            await self.set_up_volumes(pod)

    def waited_in_vain(self) -> float:
        """For volumes, once more; in how many seconds to look again."""
        self.volume_tries += 1
        return retry_after_s(self.volume_tries)

    def mounts(
        self, pod: Object, container: Object, env: Mapping[str, str], attempt: int
    ) -> list[Mount]:
        message = self._messages.file(container["name"], attempt)
        os.makedirs(os.path.dirname(message), exist_ok=True)
        with open(message, "w"):
            os.chmod(message, 0o666)
        target = container.get("terminationMessagePath") or "/dev/termination-log"
        mounts = self._node.volumes.mounts(pod, container, env)
        taken = {mount.target for mount in mounts}
        own = [*self._node.sandboxes.mounts(pod), Mount(message, target)]
        return [*(mount for mount in own if mount.target not in taken), *mounts]
