"""Persistent volumes: claims and volumes are bound to one another, both ways, and released.

The volume's claimRef comes first and decides; what else is written follows from it, so that a
crash between two writes is put right by looking again. Volumes are made by provisioners outside;
what they need to know is written on the claim.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta
from cluster.machinery import volume_matching as matching

Object = dict[str, Any]

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
CLASSES = "storageclasses.storage.k8s.io"
BOUND_BY_US = "pv.kubernetes.io/bound-by-controller"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
OLD_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"


class PersistentVolumeBinder(Controller):
    """Keys are those of claims, and "volume:NAME". One worker: two claims never race for one
    volume within this process, and across processes the volume's version decides."""

    name = "persistentvolume-binder"
    account = "persistent-volume-binder"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = self.informers.of(CLAIMS)
        self._volumes = self.informers.of(VOLUMES)
        self._classes = self.informers.of(CLASSES)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(CLAIMS, self._keys_of_claim),
            Watch(VOLUMES, self._keys_of_volume),
            Watch(CLASSES, lambda _: self._waiting()),
        ]

    def _keys_of_claim(self, claim: Object) -> list[str]:
        volume = claim["spec"].get("volumeName")
        return [meta.key(claim), *([f"volume:{volume}"] if volume else [])]

    def _keys_of_volume(self, volume: Object) -> list[str]:
        """A free volume may be what some claim waits for."""
        keys = [f"volume:{meta.name(volume)}"]
        reference = volume["spec"].get("claimRef")
        if reference:
            return [*keys, f"{reference.get('namespace')}/{reference.get('name')}"]
        return [*keys, *self._waiting()]

    def _waiting(self) -> list[str]:
        return [
            meta.key(claim)
            for claim in self._claims.list()
            if (claim.get("status") or {}).get("phase") in (None, "Pending")
        ]

    async def reconcile(self, key: str) -> Result | None:
        if key.startswith("volume:"):
            volume = self._volumes.get(key.removeprefix("volume:"))
            if volume is not None:
                await self._settle_volume(volume)
            return None
        claim = self._claims.get(key)
        if claim is not None and not claim["metadata"].get("deletionTimestamp"):
            await self._settle_claim(claim)
        return None

    async def _settle_claim(self, claim: Object) -> None:
        named = claim["spec"].get("volumeName")
        if not named:
            await self._find(claim)
            return
        volume = self._volumes.get(named)
        completed = BIND_COMPLETED in (claim["metadata"].get("annotations") or {})
        ours = volume is not None and (
            not volume["spec"].get("claimRef") or matching.is_bound_to(volume, claim)
        )
        if volume is not None and ours:
            await self._bind(claim, volume)
        elif completed:
            what = "not exist" if volume is None else "not have this claim any more"
            message = f"Bound claim has lost its PersistentVolume {named}: it does {what}"
            self.events.event(claim, "Warning", "ClaimLost", message)
            await self._write_phase(claim, {"phase": "Lost"})

    async def _find(self, claim: Object) -> None:
        name = matching.class_of(claim)
        storage_class = self._classes.get(name) if name else None
        annotations = claim["metadata"].get("annotations") or {}
        late = (storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer"
        volume = matching.match(claim, self._volumes.list())
        reserved = volume is not None and matching.is_bound_to(volume, claim)
        if late and SELECTED_NODE not in annotations and not reserved:
            message = "waiting for first consumer to be created before binding"
            self.events.event(claim, "Normal", "WaitForFirstConsumer", message)
        elif volume is not None:
            await self._bind(claim, volume)
        elif storage_class is not None:
            await self._ask_provisioner(claim, storage_class["provisioner"])
        elif name:
            message = f'storageclass.storage.k8s.io "{name}" not found'
            self.events.event(claim, "Warning", "ProvisioningFailed", message)
        else:
            message = "no persistent volumes available for this claim and no storage class is set"
            self.events.event(claim, "Normal", "FailedBinding", message)

    async def _ask_provisioner(self, claim: Object, provisioner: str) -> None:
        if provisioner == "kubernetes.io/no-provisioner":
            message = "no volume fits, and volumes of this storage class are not provisioned"
            self.events.event(claim, "Normal", "FailedBinding", message)
            return
        annotations = claim["metadata"].get("annotations") or {}
        marks = {PROVISIONER: provisioner, OLD_PROVISIONER: provisioner}
        if not marks.items() <= annotations.items():
            metadata = {**claim["metadata"], "annotations": {**annotations, **marks}}
            await self.client.update(CLAIMS, {**claim, "metadata": metadata})
        message = (
            "Waiting for a volume to be created either by the external provisioner"
            f" '{provisioner}' or manually by the system administrator"
        )
        self.events.event(claim, "Normal", "ExternalProvisioning", message)

    async def _bind(self, claim: Object, volume: Object) -> None:
        """Volume, its phase, claim, its phase: each step only if it is still to be done."""
        volume = await self._bind_volume(claim, volume)
        await self._write_volume_phase(volume, "Bound")
        annotations = claim["metadata"].get("annotations") or {}
        ours = not claim["spec"].get("volumeName")
        if ours or BIND_COMPLETED not in annotations:
            marks = {BIND_COMPLETED: "yes", **({BOUND_BY_US: "yes"} if ours else {})}
            metadata = {**claim["metadata"], "annotations": {**annotations, **marks}}
            spec = {**claim["spec"], "volumeName": meta.name(volume)}
            claim = await self.client.update(CLAIMS, {**claim, "metadata": metadata, "spec": spec})
        status = {"phase": "Bound", "accessModes": volume["spec"].get("accessModes") or []}
        if (claim.get("status") or {}).get("phase") != "Bound":  # later it grows with its volume
            status["capacity"] = dict(volume["spec"].get("capacity") or {})
        await self._write_phase(claim, status)

    async def _bind_volume(self, claim: Object, volume: Object) -> Object:
        reference = volume["spec"].get("claimRef") or {}
        metadata = claim["metadata"]
        if reference.get("uid") == metadata["uid"]:
            return volume
        new = copy.deepcopy(volume)
        new["spec"]["claimRef"] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        if not reference:
            annotations = new["metadata"].get("annotations") or {}
            new["metadata"]["annotations"] = {**annotations, BOUND_BY_US: "yes"}
        return await self.client.update(VOLUMES, new)

    async def _settle_volume(self, volume: Object) -> None:
        reference = volume["spec"].get("claimRef")
        if not reference or not reference.get("uid"):
            await self._write_volume_phase(volume, "Available")
            return
        key = f"{reference['namespace']}/{reference['name']}"
        claim = self._claims.get(key)
        if claim is None or claim["metadata"]["uid"] != reference["uid"]:
            # A release cannot be taken back, so the server is asked, not the cache alone.
            claim = await self.client.find(CLAIMS, reference["name"], reference["namespace"])
        if claim is None or claim["metadata"]["uid"] != reference["uid"]:
            await self._release(volume)

    async def _release(self, volume: Object) -> None:
        """What becomes of its data is for the reclaim policy: Retain keeps it, Delete is done by
        the volume's own provisioner, who waits for this phase."""
        await self._write_volume_phase(volume, "Released")

    async def _write_volume_phase(self, volume: Object, phase: str) -> None:
        old = volume.get("status") or {}
        if old.get("phase") != phase:
            now = meta.format_time(self.clock.wall())
            status = {**old, "phase": phase, "lastPhaseTransitionTime": now}
            await self.client.update(VOLUMES, {**volume, "status": status}, subresource="status")

    async def _write_phase(self, claim: Object, wanted: Object) -> None:
        old = claim.get("status") or {}
        if not wanted.items() <= old.items():
            new = {**claim, "status": {**old, **wanted}}
            await self.client.update(CLAIMS, new, subresource="status")
