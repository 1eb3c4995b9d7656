"""Volumes of CSI drivers: staged once for the node, published for each pod."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cluster.client import Client, Informer
from cluster.kubelet.volumes.csi_drivers import CsiDrivers
from cluster.kubelet.volumes.plugin import NotReady, Object, Placed, Wanted
from cluster.machinery import csi_names, quantity
from cluster.machinery.status import ApiError

if TYPE_CHECKING:
    from cluster.csi.driver import Driver

ATTACHMENTS = "volumeattachments.storage.k8s.io"


class Csi:
    name = "kubernetes.io/csi"

    def __init__(
        self,
        data_dir: str,
        client: Client,
        drivers: CsiDrivers,
        objects: Informer,
        node: Callable[[], Object],
    ) -> None:
        """`objects`: the CSIDrivers of the cluster; `node`: our Node as it is now."""
        self._data_dir, self._client, self._node = data_dir, client, node
        self._drivers, self._objects = drivers, objects

    def supports(self, wanted: Wanted) -> bool:
        return wanted.source.get("csi") is not None

    def owns(self, wanted: Wanted) -> bool:
        """By the driver's fsGroupPolicy; the default is volumes of one node with a file system."""
        policy = self._spec(wanted).get("fsGroupPolicy") or "ReadWriteOnceWithFSType"
        if policy == "ReadWriteOnceWithFSType":
            modes = set(wanted.source.get("accessModes") or ())
            single = modes <= {"ReadWriteOnce", "ReadWriteOncePod"} and bool(modes)
            return single and bool(wanted.source["csi"].get("fsType"))
        return bool(policy == "File")

    def _spec(self, wanted: Wanted) -> Object:
        found = self._objects.get(wanted.source["csi"]["driver"]) or {}
        spec: Object = found.get("spec") or {}
        return spec

    def plan(self, wanted: Wanted) -> Placed:
        if not self._objects.has_synced:
            raise NotReady("the CSIDrivers of the cluster are not known yet")
        csi, uid = wanted.source["csi"], wanted.pod["metadata"]["uid"]
        driver, inline = csi["driver"], wanted.volume is None
        handle = csi_names.inline_handle(uid, wanted.name) if inline else csi["volumeHandle"]
        attached = not inline and self._spec(wanted).get("attachRequired") is not False
        place = hashlib.sha256(handle.encode()).hexdigest()
        base = os.path.join(self._data_dir, "plugins", self.name, driver, place)
        details = {
            "driver": driver,
            "handle": handle,
            "staging": "" if inline else os.path.join(base, "globalmount"),
        }
        return Placed(
            self.name,
            uid,
            wanted.name,
            wanted.identity,
            os.path.join(wanted.folder, "device" if wanted.block else "mount"),
            wanted.read_only,
            in_use=csi_names.unique_name(driver, handle) if attached else "",
            details=details,
        )

    def _driver(self, name: str) -> Driver:
        found = self._drivers.get(name)
        if found is None:
            raise NotReady(f"driver name {name} not found in the list of registered CSI drivers")
        return found

    async def set_up(self, wanted: Wanted, placed: Placed) -> None:
        from cluster.csi.driver import CsiError

        driver = self._driver(placed.details["driver"])
        context = await self._attached(placed) if placed.in_use else {}
        try:
            capability = await self._capability(driver, wanted)
            if placed.details["staging"]:
                await self._stage(driver, wanted, placed, capability, context)
            await self._publish(driver, wanted, placed, capability, context)
        except CsiError as error:
            raise NotReady(str(error)) from error

    async def _attached(self, placed: Placed) -> dict[str, str]:
        """What the attacher has to tell the node. Raises NotReady while it is not attached."""
        node = self._node()
        listed = (node.get("status") or {}).get("volumesAttached") or ()
        if placed.in_use not in {each["name"] for each in listed}:
            raise NotReady(f"volume {placed.identity} is not yet attached to this node")
        name = csi_names.attachment_name(
            placed.details["driver"], placed.details["handle"], node["metadata"]["name"]
        )
        try:
            found = await self._client.get(ATTACHMENTS, name)
        except ApiError as error:
            if error.code not in (403, 404):
                raise
            raise NotReady(f"volume attachment {name} not found") from error
        status = found.get("status") or {}
        if not status.get("attached"):
            raise NotReady(f"volume attachment {name} is not attached")
        return dict(status.get("attachmentMetadata") or {})

    async def _capability(self, driver: Driver, wanted: Wanted) -> Any:
        from cluster.csi import capability, csi_pb2

        rpcs = csi_pb2.NodeServiceCapability.RPC
        if wanted.volume is not None:
            return capability.of_volume(
                wanted.volume, await driver.node_can(rpcs.SINGLE_NODE_MULTI_WRITER)
            )
        fs_type = wanted.source["csi"].get("fsType") or ""
        return capability.of(("ReadWriteOnce",), block=False, fs_type=fs_type)

    async def _stage(
        self, driver: Driver, wanted: Wanted, placed: Placed, capability: Any, context: Any
    ) -> None:
        from cluster.csi import csi_pb2

        if not await driver.node_can(csi_pb2.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME):
            return
        staging, csi = placed.details["staging"], wanted.source["csi"]
        os.makedirs(staging, mode=0o750, exist_ok=True)
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=placed.details["handle"],
            publish_context=context,
            staging_target_path=staging,
            volume_capability=capability,
            secrets=await self._secrets(csi.get("nodeStageSecretRef"), wanted),
            volume_context=csi.get("volumeAttributes") or {},
        )
        await driver.call(request)

    async def _publish(
        self, driver: Driver, wanted: Wanted, placed: Placed, capability: Any, context: Any
    ) -> None:
        from cluster.csi import csi_pb2

        csi = wanted.source["csi"]
        staged = await driver.node_can(csi_pb2.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME)
        os.makedirs(os.path.dirname(placed.path), mode=0o750, exist_ok=True)
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=placed.details["handle"],
            publish_context=context,
            staging_target_path=placed.details["staging"] if staged else "",
            target_path=placed.path,
            volume_capability=capability,
            readonly=placed.read_only,
            secrets=await self._secrets(csi.get("nodePublishSecretRef"), wanted),
            volume_context={**(csi.get("volumeAttributes") or {}), **self._pod_info(wanted)},
        )
        await driver.call(request)

    def _pod_info(self, wanted: Wanted) -> dict[str, str]:
        if not self._spec(wanted).get("podInfoOnMount"):
            return {}
        metadata, spec = wanted.pod["metadata"], wanted.pod["spec"]
        start = "csi.storage.k8s.io/"
        return {
            f"{start}pod.name": metadata["name"],
            f"{start}pod.namespace": metadata["namespace"],
            f"{start}pod.uid": metadata["uid"],
            f"{start}serviceAccount.name": spec.get("serviceAccountName") or "",
            f"{start}ephemeral": "true" if wanted.volume is None else "false",
        }

    async def _secrets(self, reference: Object | None, wanted: Wanted) -> dict[str, str]:
        if not reference:
            return {}
        namespace = reference.get("namespace") or wanted.pod["metadata"]["namespace"]
        try:
            secret = await self._client.get("secrets", reference["name"], namespace)
        except ApiError as error:
            if error.code not in (403, 404):
                raise
            raise NotReady(f'secret "{namespace}/{reference["name"]}" not found') from error
        return {k: base64.b64decode(v).decode() for k, v in (secret.get("data") or {}).items()}

    async def tear_down(self, placed: Placed, last: bool) -> None:
        """Raises OSError while the driver is not there or does not do it."""
        from cluster.csi import csi_pb2
        from cluster.csi.driver import CsiError

        handle, staging = placed.details["handle"], placed.details["staging"]
        driver = self._drivers.get(placed.details["driver"])
        if driver is None:
            raise OSError(f"driver {placed.details['driver']} is not registered on this node")
        try:
            await driver.call(
                csi_pb2.NodeUnpublishVolumeRequest(volume_id=handle, target_path=placed.path)
            )
            stages = csi_pb2.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME
            if last and staging and await driver.node_can(stages):
                await driver.call(
                    csi_pb2.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=staging)
                )
        except CsiError as error:
            raise OSError(str(error)) from error
        if last and os.path.isdir(staging):
            os.rmdir(staging)

    async def expand(self, wanted: Wanted, placed: Placed) -> int | None:
        from cluster.csi import csi_pb2
        from cluster.csi.driver import CsiError

        driver = self._driver(placed.details["driver"])
        try:
            if not await driver.node_can(csi_pb2.NodeServiceCapability.RPC.EXPAND_VOLUME):
                return None
            size = quantity.value(wanted.source["capacity"]["storage"])
            request = csi_pb2.NodeExpandVolumeRequest(
                volume_id=placed.details["handle"],
                volume_path=placed.path,
                capacity_range=csi_pb2.CapacityRange(required_bytes=size),
                staging_target_path=placed.details["staging"],
                volume_capability=await self._capability(driver, wanted),
            )
            return int((await driver.call(request)).capacity_bytes)
        except CsiError as error:
            raise NotReady(str(error)) from error

    async def usage(self, placed: Placed) -> tuple[int, int, int] | None:
        """(capacity, available, used) in bytes, as the driver has it; None if it does not say."""
        from cluster.csi import csi_pb2
        from cluster.csi.driver import CsiError

        driver = self._drivers.get(placed.details["driver"])
        stats = csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_STATS
        try:
            if driver is None or not await driver.node_can(stats):
                return None
            request = csi_pb2.NodeGetVolumeStatsRequest(
                volume_id=placed.details["handle"],
                volume_path=placed.path,
                staging_target_path=placed.details["staging"],
            )
            answer = await driver.call(request, timeout_s=5.0)
        except CsiError:
            return None
        for usage in answer.usage:
            if usage.unit == csi_pb2.VolumeUsage.BYTES:
                return usage.total, usage.available, usage.used
        return None
