"""Carries out VolumeAttachments with the drivers' controller services (external-attacher)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers import csi_drivers
from cluster.controllers.csi_drivers import CsiDrivers
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta

Object = dict[str, Any]

ATTACHMENTS, CSI_NODES = "volumeattachments.storage.k8s.io", "csinodes.storage.k8s.io"
VOLUMES = "persistentvolumes"
NODE_ID = "csi.volume.kubernetes.io/nodeid"
_WAIT_S = 2.0


class CsiAttacher(Controller):
    """`config["csi_folder"]`: where the sockets of drivers are; off without it."""

    name = "csi-attacher"
    account = "csi-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._drivers = CsiDrivers(context.config["csi_folder"])
        self._attachments = self.informers.of(ATTACHMENTS)
        self._csi_nodes, self._volumes = self.informers.of(CSI_NODES), self.informers.of(VOLUMES)

    def watches(self) -> Sequence[Watch]:
        return [Watch(ATTACHMENTS), Watch(CSI_NODES, self._of_node), Watch(VOLUMES, lambda _: ())]

    def _of_node(self, csi_node: Object) -> Iterable[str]:
        name = meta.name(csi_node)
        return [
            meta.key(each)
            for each in self._attachments.list()
            if each["spec"]["nodeName"] == name and not (each.get("status") or {}).get("attached")
        ]

    async def reconcile(self, key: str) -> Result | None:
        from cluster.csi.driver import CsiError

        attachment = self._attachments.get(key)
        if attachment is None:
            return None
        driver = await self._drivers.get(attachment["spec"]["attacher"])
        if driver is None:
            return (
                Result(_WAIT_S) if _finalizer(attachment) in meta.finalizers(attachment) else None
            )
        detach = bool(attachment["metadata"].get("deletionTimestamp"))
        if not detach and (attachment.get("status") or {}).get("attached"):
            return None
        try:
            work = self._detach if detach else self._attach
            return await work(driver, attachment)
        except CsiError as error:
            await self._say(attachment, "detachError" if detach else "attachError", str(error))
            return Result(_WAIT_S)

    async def _attach(self, driver: Any, attachment: Object) -> Result | None:
        from cluster.csi import capability, csi_pb2

        rpcs = csi_pb2.ControllerServiceCapability.RPC
        name = attachment["spec"]["source"].get("persistentVolumeName") or ""
        volume = self._volumes.get(name) or await self.informers.ask(VOLUMES, name)
        node_id = self._node_id(attachment)
        if volume is None or node_id is None:
            what = f"persistentvolume {name}" if volume is None else "the driver on the node"
            await self._say(attachment, "attachError", f"{what} is not there")
            return Result(_WAIT_S)
        if not await driver.controller_can(rpcs.PUBLISH_UNPUBLISH_VOLUME):
            await self._attached(attachment, {})
            return None
        attachment = await self._hold(attachment, node_id)
        csi = volume["spec"]["csi"]
        single = await driver.controller_can(rpcs.SINGLE_NODE_MULTI_WRITER)
        request = csi_pb2.ControllerPublishVolumeRequest(
            volume_id=csi["volumeHandle"],
            node_id=node_id,
            volume_capability=capability.of_volume(volume, single),
            readonly=bool(csi.get("readOnly")),
            secrets=await csi_drivers.secrets(self.client, csi.get("controllerPublishSecretRef")),
            volume_context=csi.get("volumeAttributes") or {},
        )
        answer = await driver.call(request)
        await self._attached(attachment, dict(answer.publish_context))
        return None

    def _node_id(self, attachment: Object) -> str | None:
        csi_node = self._csi_nodes.get(attachment["spec"]["nodeName"]) or {"spec": {}}
        listed = csi_node["spec"].get("drivers") or ()
        name = attachment["spec"]["attacher"]
        return next((d["nodeID"] for d in listed if d["name"] == name), None)

    async def _hold(self, attachment: Object, node_id: str) -> Object:
        """Before the driver attaches: whatever happens then, the object stays until it detached,
        and says which node that was, whose CSINode may be gone by then."""
        mark = _finalizer(attachment)
        metadata = copy.deepcopy(attachment["metadata"])
        metadata["finalizers"] = [*dict.fromkeys([*meta.finalizers(attachment), mark])]
        metadata["annotations"] = {**(metadata.get("annotations") or {}), NODE_ID: node_id}
        if metadata == attachment["metadata"]:
            return attachment
        return await self.client.update(ATTACHMENTS, {**attachment, "metadata": metadata})

    async def _attached(self, attachment: Object, context: dict[str, str]) -> None:
        status: Object = {"attached": True}
        if context:
            status["attachmentMetadata"] = context
        new = {**attachment, "status": status}
        await self.client.update(ATTACHMENTS, new, subresource="status")

    async def _detach(self, driver: Any, attachment: Object) -> Result | None:
        from cluster.csi import csi_pb2

        if _finalizer(attachment) not in meta.finalizers(attachment):
            return None
        name = attachment["spec"]["source"].get("persistentVolumeName") or ""
        volume = self._volumes.get(name)
        if volume is not None:
            csi = volume["spec"]["csi"]
            reference = csi.get("controllerPublishSecretRef")
            request = csi_pb2.ControllerUnpublishVolumeRequest(
                volume_id=csi["volumeHandle"],
                node_id=attachment["metadata"]["annotations"][NODE_ID],
                secrets=await csi_drivers.secrets(self.client, reference),
            )
            await driver.call(request)
        kept = [each for each in meta.finalizers(attachment) if each != _finalizer(attachment)]
        metadata = {**attachment["metadata"], "finalizers": kept}
        await self.client.update(ATTACHMENTS, {**attachment, "metadata": metadata})
        return None

    async def _say(self, attachment: Object, field: str, message: str) -> None:
        """Once for each message: a status that changes with every try would try at once again."""
        status = attachment.get("status") or {"attached": False}
        if (status.get(field) or {}).get("message") != message:
            told = {"message": message, "time": meta.format_time(self.clock.wall())}
            new = {**attachment, "status": {**status, field: told}}
            await self.client.update(ATTACHMENTS, new, subresource="status")


def _finalizer(attachment: Object) -> str:
    return "external-attacher/" + str(attachment["spec"]["attacher"]).replace(".", "-")
