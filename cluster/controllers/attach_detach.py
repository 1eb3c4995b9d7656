"""Attach and detach: a VolumeAttachment for each volume that pods of a node need, and none else.

Who attaches is the volume's CSI driver; here is decided what is to be attached where. A volume is
detached once the node does not use it any more (status.volumesInUse). Where the node does not say
so, it is detached by force: at once when the node is gone or out of service, else after
`FORCE_AFTER_S` of silence, as upstream (maxWaitForUnmountDuration).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.controllers import pods
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.volume_protection import claims_of
from cluster.machinery import csi_names, meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
ATTACHMENTS, DRIVERS = "volumeattachments.storage.k8s.io", "csidrivers.storage.k8s.io"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
FORCE_AFTER_S = 360.0
_RETRY_S, _UNSEEN_S = 10.0, 10.0
_SHARED = {"ReadWriteMany", "ReadOnlyMany"}


@dataclass(frozen=True)
class Attachable:
    """A volume that has to be attached to the node that uses it."""

    volume: str
    driver: str
    handle: str
    shared: bool


class AttachDetach(Controller):
    """Keys are names of nodes. `config["force_detach_s"]` in place of FORCE_AFTER_S."""

    name = "persistentvolume-attach-detach"
    account = "attachdetach-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        of = self.informers
        self._pods = of.indexed("pods", "volumes-node", _nodes_of)
        self._claims, self._volumes = of.of(CLAIMS), of.of(VOLUMES)
        self._nodes, self._drivers = of.of("nodes"), of.of(DRIVERS)
        self._attachments = of.indexed(ATTACHMENTS, "node", lambda a: [a["spec"]["nodeName"]])
        self._attachments.add_index("volume", _volume_of)
        self._force_after_s = float(context.config.get("force_detach_s") or FORCE_AFTER_S)
        self._unwanted_since: dict[str, float] = {}
        self._waiting: dict[str, set[str]] = {}
        self._made: dict[str, tuple[str, str, float]] = {}

    def watches(self) -> Sequence[Watch]:
        return [
            Watch("pods", lambda pod: _nodes_of(pod) if claims_of(pod) else ()),
            Watch("nodes"),
            Watch(CLAIMS, self._nodes_of_claim),
            Watch(ATTACHMENTS, self._nodes_of_attachment),
            Watch(DRIVERS, lambda _: [meta.name(node) for node in self._nodes.list()]),
        ]

    def _nodes_of_claim(self, claim: Object) -> Iterable[str]:
        key = meta.key(claim)
        return {n for p in self._pods.list() if key in claims_of(p) for n in _nodes_of(p)}

    def _nodes_of_attachment(self, attachment: Object) -> Iterable[str]:
        """And those that wait for the volume to be free."""
        return {attachment["spec"]["nodeName"], *self._waiting.pop(_name_of(attachment), ())}

    async def reconcile(self, key: str) -> Result | None:
        node = self._nodes.get(key)
        wanted = {each.volume: each for each in self._wanted(key)}
        attachments = self._attachments.by_index("node", key)
        # of a volume that there is: other attachments are somebody else's
        present = {_name_of(a): a for a in attachments if self._volumes.get(_name_of(a))}
        waits: list[float] = []
        kept: list[Object] = []
        ending: list[Object] = []
        for name, attachment in sorted(present.items()):
            wait_s = math.inf if name in wanted else self._wait_s(node, attachment)
            (kept if wait_s else ending).append(attachment)
            waits.append(wait_s or math.inf)
        if node is not None:
            await self._report(node, kept)
        for attachment in ending:
            await self._detach(attachment)
        for name in sorted(wanted.keys() - present.keys() if node is not None else ()):
            waits.append(await self._attach(key, wanted[name]) or math.inf)
        self._forget(wanted, present)
        soonest_s = min(waits, default=math.inf)
        return Result(soonest_s) if soonest_s < math.inf else None

    def _forget(self, wanted: Iterable[str], present: Mapping[str, Object]) -> None:
        for name in wanted:
            if name in present:
                self._unwanted_since.pop(meta.name(present[name]), None)

    def _wanted(self, node: str) -> Iterable[Attachable]:
        for pod in self._pods.by_index("volumes-node", node):
            if pods.is_terminated(pod):
                continue
            for key in claims_of(pod):
                found = self._attachable(self._claims.get(key))
                if found is not None:
                    yield found

    def _attachable(self, claim: Object | None) -> Attachable | None:
        volume = self._volumes.get(((claim or {}).get("spec") or {}).get("volumeName") or "")
        if claim is None or volume is None:
            return None
        reference = volume["spec"].get("claimRef") or {}
        return self._of_volume(volume) if reference.get("uid") == claim["metadata"]["uid"] else None

    def _of_volume(self, volume: Object) -> Attachable | None:
        csi = volume["spec"].get("csi")
        if not csi:
            return None
        driver = self._drivers.get(csi["driver"])
        if driver is None or driver["spec"].get("attachRequired") is False:
            return None
        shared = bool(_SHARED & set(volume["spec"].get("accessModes") or ()))
        return Attachable(meta.name(volume), csi["driver"], csi["volumeHandle"], shared)

    async def _attach(self, node: str, wanted: Attachable) -> float | None:
        """How long to wait until another try; None if there is nothing to wait for."""
        elsewhere = self._elsewhere(node, wanted)
        if elsewhere and not wanted.shared:
            self._waiting.setdefault(wanted.volume, set()).add(node)
            self._say_taken(node, wanted, elsewhere)
            return _RETRY_S
        name = csi_names.attachment_name(wanted.driver, wanted.handle, node)
        source = {"persistentVolumeName": wanted.volume}
        attachment = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": name},
            "spec": {"attacher": wanted.driver, "nodeName": node, "source": source},
        }
        try:
            await self.client.create(ATTACHMENTS, attachment)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        self._made[name] = wanted.volume, node, self.clock.now() + _UNSEEN_S
        return None

    def _elsewhere(self, node: str, wanted: Attachable) -> set[str]:
        """Other nodes that have it; those too whose attachment the cache does not show yet."""
        shown, now_s = self._attachments.by_index("volume", wanted.volume), self.clock.now()
        seen = {meta.name(attachment) for attachment in self._attachments.list()}
        for name, (_, _, until_s) in list(self._made.items()):
            if name in seen or until_s < now_s:
                del self._made[name]
        made = {there for volume, there, _ in self._made.values() if volume == wanted.volume}
        return ({a["spec"]["nodeName"] for a in shown} | made) - {node}

    def _say_taken(self, node: str, wanted: Attachable, elsewhere: set[str]) -> None:
        message = (
            f'Multi-Attach error for volume "{wanted.volume}" Volume is already exclusively '
            f"attached to {', '.join(sorted(elsewhere))} and can't be attached to another"
        )
        for pod in self._pods.by_index("volumes-node", node):
            mine = (self._attachable(self._claims.get(key)) for key in claims_of(pod))
            if wanted in mine and not pods.is_terminated(pod):
                subject = {"apiVersion": "v1", "kind": "Pod"} | pod
                self.events.event(subject, "Warning", "FailedAttachVolume", message)

    def _wait_s(self, node: Object | None, attachment: Object) -> float:
        """How long an attachment that no pod needs is kept; 0: it ends now."""
        name = meta.name(attachment)
        since_s = self._unwanted_since.setdefault(name, self.clock.now())
        if node is None or self._unique_name(attachment) not in _in_use(node):
            return 0.0
        if meta.condition_is(node, "Ready"):
            return _RETRY_S
        taints = (node.get("spec") or {}).get("taints") or ()
        if any(taint["key"] == OUT_OF_SERVICE for taint in taints):
            return 0.0
        return max(0.0, since_s + self._force_after_s - self.clock.now())

    def _unique_name(self, attachment: Object) -> str:
        volume = self._volumes.get(_name_of(attachment))
        csi = ((volume or {}).get("spec") or {}).get("csi") or {}
        return csi_names.unique_name(str(csi.get("driver")), str(csi.get("volumeHandle")))

    async def _report(self, node: Object, kept: Iterable[Object]) -> None:
        """What the node may mount: before anything is detached, it is not on the list any more."""
        names = sorted(
            self._unique_name(attachment)
            for attachment in kept
            if (attachment.get("status") or {}).get("attached")
            and not attachment["metadata"].get("deletionTimestamp")
        )
        status = node.get("status") or {}
        old = [entry["name"] for entry in status.get("volumesAttached") or ()]
        if old != names:
            entries = [{"name": name, "devicePath": ""} for name in names]
            patch = {"status": {"volumesAttached": entries or None}}
            await self.client.patch("nodes", meta.name(node), patch, subresource="status")

    async def _detach(self, attachment: Object) -> None:
        """The driver's finalizer keeps it until the volume is detached."""
        metadata = attachment["metadata"]
        self._unwanted_since.pop(metadata["name"], None)
        if metadata.get("deletionTimestamp"):
            return
        try:
            await self.client.delete(ATTACHMENTS, metadata["name"], uid=metadata["uid"])
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _nodes_of(pod: Object) -> list[str]:
    node = pods.node_name(pod)
    return [node] if node else []


def _name_of(attachment: Object) -> str:
    return str(attachment["spec"]["source"].get("persistentVolumeName") or "")


def _volume_of(attachment: Object) -> list[str]:
    return [name] if (name := _name_of(attachment)) else []


def _in_use(node: Object) -> set[str]:
    return set((node.get("status") or {}).get("volumesInUse") or ())
