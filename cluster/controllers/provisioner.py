"""Dynamic provisioning: a volume for each claim that asks this driver, and its end by policy.

As upstream's external-provisioner. The volume's name follows from the claim's uid, so that a try
that is repeated finds what an earlier one made.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta
from cluster.machinery import volume_matching as matching
from cluster.machinery.status import ApiError

Object = dict[str, Any]

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
CLASSES = "storageclasses.storage.k8s.io"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
ASKED = (
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
)
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


class Refused(Exception):
    """No volume can be made as things are; an event says why, and it is tried again later."""

    def __init__(self, message: str, *, reschedule: bool = False, after_s: float = 15.0) -> None:
        """`reschedule`: the node that the scheduler chose will not do: let it choose again."""
        super().__init__(message)
        self.reschedule = reschedule
        self.after_s = after_s


@dataclass(frozen=True)
class Made:
    """What a driver made: parts of the volume's spec, and its size as a quantity."""

    source: Object
    size: str
    node_affinity: Object | None = None
    annotations: dict[str, str] = field(default_factory=dict)


class Provisioner(Controller):
    """Keys are those of claims, and "volume:NAME". `serves` says which drivers' they are."""

    finalizer: str

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = self.informers.of(CLAIMS)
        self._classes = self.informers.of(CLASSES)
        self._volumes = self.informers.indexed(VOLUMES, "provisioner", _provisioners)

    def serves(self, driver: str) -> bool:
        raise NotImplementedError

    async def make(self, name: str, claim: Object, storage_class: Object, node: str) -> Made:
        """Raises Refused. `node`: where it will be used first; "" if that is not known."""
        raise NotImplementedError

    async def unmake(self, volume: Object) -> bool:
        """False: not yet; the controller is called again when something changes."""
        raise NotImplementedError

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(CLAIMS),
            Watch(VOLUMES, lambda volume: [f"volume:{meta.name(volume)}"]),
            Watch(CLASSES, self._keys_of_class),
        ]

    def _keys_of_class(self, storage_class: Object) -> Iterable[str]:
        name = meta.name(storage_class)
        return [meta.key(c) for c in self._claims.list() if matching.class_of(c) == name]

    async def reconcile(self, key: str) -> Result | None:
        if key.startswith("volume:"):
            return await self._end(key.removeprefix("volume:"))
        claim = self._claims.get(key)
        if claim is None or not self._is_asked(claim):
            return None
        storage_class = self._classes.get(matching.class_of(claim))
        node = (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE, "")
        if storage_class is None or (_waits(storage_class) and not node):
            return None
        try:
            await self._provision(claim, storage_class, node)
        except Refused as refused:
            await self._refuse(claim, storage_class, refused)
            return Result(refused.after_s)
        return None

    def _is_asked(self, claim: Object) -> bool:
        """The volume binder's mark comes when nothing that is there already will do."""
        if claim["metadata"].get("deletionTimestamp") or claim["spec"].get("volumeName"):
            return False
        marks = claim["metadata"].get("annotations") or {}
        return self.serves(marks.get(ASKED[0]) or marks.get(ASKED[1]) or "")

    async def _provision(self, claim: Object, storage_class: Object, node: str) -> None:
        name = f"pvc-{claim['metadata']['uid']}"
        if self._volumes.get(name) is not None:
            return
        made = await self.make(name, claim, storage_class, node)
        volume = describe(name, claim, storage_class, made, self.finalizer)
        try:
            await self.client.create(VOLUMES, volume)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        self.events.event(
            claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}"
        )

    async def _refuse(self, claim: Object, storage_class: Object, refused: Refused) -> None:
        message = (
            f'failed to provision volume with StorageClass "{meta.name(storage_class)}": {refused}'
        )
        self.events.event(claim, "Warning", "ProvisioningFailed", message)
        marks = claim["metadata"].get("annotations") or {}
        if refused.reschedule and SELECTED_NODE in marks:
            kept = {key: value for key, value in marks.items() if key != SELECTED_NODE}
            metadata = {**claim["metadata"], "annotations": kept}
            await self.client.update(CLAIMS, {**claim, "metadata": metadata})

    async def _end(self, name: str) -> Result | None:
        volume = self._volumes.get(name)
        if volume is None or not any(map(self.serves, _provisioners(volume))):
            return None
        metadata, spec = volume["metadata"], volume["spec"]
        removed = spec.get("persistentVolumeReclaimPolicy") == "Delete"
        released = (volume.get("status") or {}).get("phase") in ("Released", "Failed")
        if removed and released and not metadata.get("deletionTimestamp"):
            await self._delete(volume)
        elif metadata.get("deletionTimestamp") and self.finalizer in metadata["finalizers"]:
            bound = (volume.get("status") or {}).get("phase") == "Bound"
            if bound or (removed and not await self._unmake(volume)):
                return None
            await self._let_go(volume)
        return None

    async def _unmake(self, volume: Object) -> bool:
        try:
            return await self.unmake(volume)
        except Refused as refused:
            self.events.event(volume, "Warning", "VolumeFailedDelete", str(refused))
            self.queue.add_after(f"volume:{meta.name(volume)}", refused.after_s)
            return False

    async def _delete(self, volume: Object) -> None:
        """Its finalizer keeps it until what it stands for is gone."""
        uid = volume["metadata"]["uid"]
        try:
            await self.client.delete(VOLUMES, meta.name(volume), uid=uid)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _let_go(self, volume: Object) -> None:
        metadata = volume["metadata"]
        kept = [each for each in metadata["finalizers"] if each != self.finalizer]
        await self.client.update(VOLUMES, {**volume, "metadata": {**metadata, "finalizers": kept}})


def _provisioners(volume: Object) -> list[str]:
    name = (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY)
    return [name] if name else []


def _waits(storage_class: Object) -> bool:
    return storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def describe(name: str, claim: Object, storage_class: Object, made: Made, finalizer: str) -> Object:
    """The PersistentVolume, reserved for its claim. Pure."""
    metadata, spec = claim["metadata"], copy.deepcopy(claim["spec"])
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        **{key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")},
    }
    new: Object = {
        "capacity": {"storage": made.size},
        "accessModes": spec["accessModes"],
        "volumeMode": spec.get("volumeMode") or "Filesystem",
        "storageClassName": meta.name(storage_class),
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "mountOptions": storage_class.get("mountOptions"),
        "claimRef": reference,
        "nodeAffinity": made.node_affinity,
        **made.source,
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: storage_class["provisioner"], **made.annotations},
            "finalizers": [finalizer],
        },
        "spec": {key: value for key, value in new.items() if value is not None},
    }
