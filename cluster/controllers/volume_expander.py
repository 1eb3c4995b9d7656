"""Claims that ask for more than their volume has: the volume grows, then its file system.

As upstream's resizer: the volume first (`expand`, by its driver), then its capacity, then the
claim waits (FileSystemResizePending) for the node to grow what stands there. A claim whose volume
needs nothing of a node has the new size at once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import local_volumes, meta, quantity

Object = dict[str, Any]

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
_RETRY_S = 5.0
RESIZING, PENDING = "Resizing", "FileSystemResizePending"
PENDING_TEXT = (
    "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
)


class NotExpanded(Exception):
    """The volume did not grow; an event says why, and it is tried again."""


class VolumeExpander(Controller):
    """Volumes of the embedded provisioner. Other drivers' have a resizer of their own."""

    name = "persistentvolume-expander"
    account = "expand-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = self.informers.of(CLAIMS)
        self._volumes = self.informers.of(VOLUMES)

    def watches(self) -> Sequence[Watch]:
        return [Watch(CLAIMS), Watch(VOLUMES, _claim_of)]

    def serves(self, volume: Object) -> bool:
        return local_volumes.is_local(volume)

    async def expand(self, volume: Object, size: str) -> bool:
        """Whether a node has to do its part. Raises NotExpanded."""
        return True

    async def reconcile(self, key: str) -> Result | None:
        claim = self._claims.get(key)
        if claim is None or claim["metadata"].get("deletionTimestamp"):
            return None
        volume = self._volumes.get(claim["spec"].get("volumeName") or "")
        if volume is None or not self.serves(volume) or not _is_bound(claim, volume):
            return None
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if quantity.parse(wanted) <= quantity.parse(volume["spec"]["capacity"]["storage"]):
            return None
        return await self._grow(claim, volume, wanted)

    async def _grow(self, claim: Object, volume: Object, wanted: str) -> Result | None:
        now_s = self.clock.wall()
        if not meta.condition_is(claim, RESIZING):
            claim = copy.deepcopy(claim)
            meta.set_condition(claim, {"type": RESIZING, "status": "True"}, now_s)
            claim = await self.client.update(CLAIMS, claim, subresource="status")
        try:
            on_node = await self.expand(volume, wanted)
        except NotExpanded as error:
            text = f"resize volume {meta.name(volume)} failed: {error}"
            self.events.event(claim, "Warning", "VolumeResizeFailed", text)
            return Result(_RETRY_S)
        spec = {"capacity": {**volume["spec"]["capacity"], "storage": wanted}}
        # The claim first: a node that sees the new size may be done before the next line.
        await self._tell(claim, wanted, now_s, on_node=on_node)
        await self.client.patch(VOLUMES, meta.name(volume), {"spec": spec})
        return None

    async def _tell(self, claim: Object, size: str, now_s: float, *, on_node: bool) -> None:
        new = copy.deepcopy(claim)
        status = new["status"]
        status["conditions"] = [c for c in status["conditions"] if c["type"] != RESIZING]
        if on_node:
            condition = {"type": PENDING, "status": "True", "message": PENDING_TEXT}
            meta.set_condition(new, condition, now_s)
            text = "Require file system resize of volume on node"
            self.events.event(claim, "Normal", "FileSystemResizeRequired", text)
        else:
            status["capacity"] = {**(status.get("capacity") or {}), "storage": size}
            self.events.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        await self.client.update(CLAIMS, new, subresource="status")


def _claim_of(volume: Object) -> Iterable[str]:
    reference = volume["spec"].get("claimRef")
    return [f"{reference['namespace']}/{reference['name']}"] if reference else []


def _is_bound(claim: Object, volume: Object) -> bool:
    phase = (claim.get("status") or {}).get("phase")
    reference = volume["spec"].get("claimRef") or {}
    return phase == "Bound" and reference.get("uid") == claim["metadata"]["uid"]
