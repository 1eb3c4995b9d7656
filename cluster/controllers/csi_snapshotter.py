"""Snapshots of CSI volumes: bound to their contents, made and deleted by the drivers.

As upstream's snapshot-controller and csi-snapshotter together. The kinds are custom resources:
they are made once there is a driver that can make snapshots.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Sequence
from typing import Any

from cluster.client import ClientError
from cluster.controllers import csi_drivers, snapshots
from cluster.controllers.csi_drivers import CsiDrivers
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.snapshots import CLASSES, CONTENTS, SNAPSHOTS
from cluster.machinery import meta
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

Object = dict[str, Any]

BOUND = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
CONTENT_BOUND = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"
_RETRY_S, _POLL_S = 2.0, 5.0


class Problem(Exception):
    """Told in the snapshot's status; tried again."""


class CsiSnapshotter(Controller):
    """Keys are those of snapshots, and "content:NAME"."""

    name = "csi-snapshotter"
    account = "csi-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._drivers = CsiDrivers(context.config["csi_folder"])

    def watches(self) -> Sequence[Watch]:
        """None yet: the kinds may not be there (see `background`)."""
        return []

    async def background(self) -> None:
        while not await self._served():
            await self.clock.sleep(_POLL_S)
        for resource, keys in ((SNAPSHOTS, _of_snapshot), (CONTENTS, _of_content)):
            informer = self.informers.of(resource)

            def handler(_kind: str, old: Any, new: Any, keys: Any = keys) -> None:
                for key in {key for obj in (old, new) if obj for key in keys(obj)}:
                    self.queue.add(key)

            informer.subscribe(handler)
        await asyncio.gather(*(self.informers.of(r).synced() for r in (SNAPSHOTS, CONTENTS)))

    async def _served(self) -> bool:
        try:
            return await self._is_wanted() and await snapshots.install(self.client)
        except (ApiError, ClientError) as error:
            log.warning("the kinds of snapshots are not there yet: %s", error)
            return False

    async def _is_wanted(self) -> bool:
        names = await self._drivers.names()
        if not names:
            return False
        from cluster.csi import csi_pb2
        from cluster.csi.driver import CsiError

        able = csi_pb2.ControllerServiceCapability.RPC.CREATE_DELETE_SNAPSHOT
        for name in names:
            driver = await self._drivers.get(name)
            try:
                if driver is not None and await driver.controller_can(able):
                    return True
            except CsiError as error:
                log.warning("driver %s: %s", name, error)
        return False

    async def reconcile(self, key: str) -> Result | None:
        if key.startswith("content:"):
            content = self.informers.of(CONTENTS).get(key.removeprefix("content:"))
            return None if content is None else await self._settle_content(content)
        snapshot = self.informers.of(SNAPSHOTS).get(key)
        if snapshot is None:
            return None
        if snapshot["metadata"].get("deletionTimestamp"):
            return await self._end(snapshot)
        if BOUND not in meta.finalizers(snapshot):
            await self._set_finalizers(SNAPSHOTS, snapshot, [*meta.finalizers(snapshot), BOUND])
            return None
        try:
            await self._settle(snapshot)
        except Problem as problem:
            await self._say(SNAPSHOTS, snapshot, str(problem))
            return Result(_RETRY_S)
        return None

    async def _settle(self, snapshot: Object) -> None:
        given = snapshot["spec"]["source"].get("volumeSnapshotContentName")
        name = given or f"snapcontent-{snapshot['metadata']['uid']}"
        content = self.informers.of(CONTENTS).get(name)
        if content is None:
            if given:
                raise Problem(f"VolumeSnapshotContent {given} is not there")
            await self._make_content(name, snapshot)
            return
        reference = content["spec"]["volumeSnapshotRef"]
        metadata = snapshot["metadata"]
        if (reference["namespace"], reference["name"]) != (metadata["namespace"], metadata["name"]):
            raise Problem(f"VolumeSnapshotContent {name} is of another snapshot")
        if not reference.get("uid"):
            new = copy.deepcopy(content)
            new["spec"]["volumeSnapshotRef"]["uid"] = metadata["uid"]
            await self.client.update(CONTENTS, new)
        elif reference["uid"] != metadata["uid"]:
            raise Problem(f"VolumeSnapshotContent {name} is of an earlier snapshot of this name")
        await self._tell(snapshot, content)

    async def _tell(self, snapshot: Object, content: Object) -> None:
        told = content.get("status") or {}
        status: Object = {
            "boundVolumeSnapshotContentName": meta.name(content),
            "readyToUse": bool(told.get("readyToUse")),
        }
        if "creationTime" in told:
            status["creationTime"] = meta.format_time(told["creationTime"] / 10**9)
        if "restoreSize" in told:
            status["restoreSize"] = str(told["restoreSize"])
        if "error" in told:
            status["error"] = told["error"]
        if status != snapshot.get("status"):
            new = {**snapshot, "status": status}
            await self.client.update(SNAPSHOTS, new, subresource="status")

    async def _make_content(self, name: str, snapshot: Object) -> None:
        volume = await self._volume(snapshot)
        driver = volume["spec"]["csi"]["driver"]
        given = await self._class(snapshot["spec"].get("volumeSnapshotClassName") or "", driver)
        metadata = snapshot["metadata"]
        reference = {
            "apiVersion": snapshot["apiVersion"],
            "kind": "VolumeSnapshot",
            **{key: metadata[key] for key in ("namespace", "name", "uid")},
        }
        spec = {
            "deletionPolicy": given["deletionPolicy"],
            "driver": driver,
            "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]},
            "sourceVolumeMode": volume["spec"].get("volumeMode") or "Filesystem",
            "volumeSnapshotClassName": meta.name(given),
            "volumeSnapshotRef": reference,
        }
        content = {
            "apiVersion": CONTENTS.api_version,
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": name, "finalizers": [CONTENT_BOUND]},
            "spec": spec,
        }
        try:
            await self.client.create(CONTENTS, content)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _volume(self, snapshot: Object) -> Object:
        name = snapshot["spec"]["source"]["persistentVolumeClaimName"]
        namespace = meta.namespace(snapshot)
        claim = await self.client.find("persistentvolumeclaims", name, namespace)
        if claim is None or (claim.get("status") or {}).get("phase") != "Bound":
            raise Problem(f"claim {name} is not bound")
        volume = await self.client.find("persistentvolumes", claim["spec"]["volumeName"])
        if volume is None or "csi" not in volume["spec"]:
            raise Problem(f"the volume of claim {name} is not of a CSI driver")
        return volume

    async def _class(self, name: str, driver: str) -> Object:
        """The one named, or the driver's default."""
        if name:
            found = await self.client.find(CLASSES, name)
            if found is None or found["driver"] != driver:
                raise Problem(f"VolumeSnapshotClass {name} is not there, or of another driver")
            return found
        listed = (await self.client.list(CLASSES))["items"]
        chosen: list[Object] = [
            each
            for each in listed
            if each["driver"] == driver
            and (each["metadata"].get("annotations") or {}).get(DEFAULT) == "true"
        ]
        if len(chosen) != 1:
            raise Problem(f"driver {driver} has {len(chosen)} default VolumeSnapshotClasses")
        return chosen[0]

    async def _end(self, snapshot: Object) -> Result | None:
        """A content whose policy is Delete goes first."""
        if BOUND not in meta.finalizers(snapshot):
            return None
        name = (snapshot.get("status") or {}).get("boundVolumeSnapshotContentName")
        name = name or f"snapcontent-{snapshot['metadata']['uid']}"
        content = await self.client.find(CONTENTS, name)
        if content is not None and content["spec"]["deletionPolicy"] == "Delete":
            if not content["metadata"].get("deletionTimestamp"):
                await self.client.delete(CONTENTS, name, uid=content["metadata"]["uid"])
            return Result(_RETRY_S)
        kept = [each for each in meta.finalizers(snapshot) if each != BOUND]
        await self._set_finalizers(SNAPSHOTS, snapshot, kept)
        return None

    async def _settle_content(self, content: Object) -> Result | None:
        from cluster.csi.driver import CsiError

        spec, status = content["spec"], content.get("status") or {}
        deleting = bool(content["metadata"].get("deletionTimestamp"))
        if not deleting and status.get("readyToUse"):
            return None
        driver = await self._drivers.get(spec["driver"])
        if driver is None:
            return Result(_RETRY_S)
        try:
            if deleting:
                await self._remove(driver, content)
            elif "snapshotHandle" in spec["source"]:
                handle = spec["source"]["snapshotHandle"]
                await self._set_status(content, {"snapshotHandle": handle, "readyToUse": True})
            else:
                return await self._take(driver, content)
        except CsiError as error:
            await self._say(CONTENTS, content, str(error))
            return Result(_RETRY_S)
        return None

    async def _take(self, driver: Any, content: Object) -> Result | None:
        from cluster.csi import csi_pb2

        spec = content["spec"]
        name = f"snapshot-{spec['volumeSnapshotRef']['uid']}"
        given = await self.client.find(CLASSES, spec.get("volumeSnapshotClassName") or "") or {}
        parameters = csi_drivers.plain(given.get("parameters") or {})
        request = csi_pb2.CreateSnapshotRequest(
            source_volume_id=spec["source"]["volumeHandle"], name=name, parameters=parameters
        )
        made = (await driver.call(request)).snapshot
        status = {
            "snapshotHandle": made.snapshot_id,
            "creationTime": made.creation_time.ToNanoseconds(),
            "restoreSize": made.size_bytes,
            "readyToUse": made.ready_to_use,
        }
        await self._set_status(content, status)
        return None if made.ready_to_use else Result(_RETRY_S)

    async def _remove(self, driver: Any, content: Object) -> None:
        from cluster.csi import csi_pb2

        if CONTENT_BOUND not in meta.finalizers(content):
            return
        handle = (content.get("status") or {}).get("snapshotHandle")
        if handle and content["spec"]["deletionPolicy"] == "Delete":
            await driver.call(csi_pb2.DeleteSnapshotRequest(snapshot_id=handle))
        kept = [each for each in meta.finalizers(content) if each != CONTENT_BOUND]
        await self._set_finalizers(CONTENTS, content, kept)

    async def _set_status(self, content: Object, status: Object) -> None:
        await self.client.update(CONTENTS, {**content, "status": status}, subresource="status")

    async def _set_finalizers(self, kind: Resource, obj: Object, finalizers: list[str]) -> None:
        metadata = {**obj["metadata"], "finalizers": finalizers}
        await self.client.update(kind, {**obj, "metadata": metadata})

    async def _say(self, kind: Resource, obj: Object, message: str) -> None:
        status = obj.get("status") or {}
        if (status.get("error") or {}).get("message") != message:
            told = {"message": message, "time": meta.format_time(self.clock.wall())}
            new = {**obj, "status": {**status, "error": told, "readyToUse": False}}
            await self.client.update(kind, new, subresource="status")


def _of_snapshot(snapshot: Object) -> list[str]:
    return [meta.key(snapshot)]


def _of_content(content: Object) -> list[str]:
    reference = content["spec"]["volumeSnapshotRef"]
    return [f"content:{meta.name(content)}", f"{reference['namespace']}/{reference['name']}"]
