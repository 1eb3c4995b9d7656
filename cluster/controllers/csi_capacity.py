"""How much space drivers have, by class and part of the cluster, for the scheduler.

As upstream's external-provisioner: for drivers whose CSIDriver says `storageCapacity`, each class
has a CSIStorageCapacity for each topology of the nodes that the driver is on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.controllers import csi_drivers
from cluster.controllers.csi_drivers import CsiDrivers
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]
Segments = frozenset[tuple[str, str]]

CAPACITIES = "csistoragecapacities.storage.k8s.io"
CLASSES, DRIVERS = "storageclasses.storage.k8s.io", "csidrivers.storage.k8s.io"
CSI_NODES, VOLUMES = "csinodes.storage.k8s.io", "persistentvolumes"
NAMESPACE = "kube-system"
MANAGED = {"csi.storage.k8s.io/managed-by": "raykube-csi-capacity"}
_POLL_S = 60.0


class CsiCapacity(Controller):
    """Keys are names of classes."""

    name = "csi-capacity"
    account = "csi-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        of = self.informers.of
        self._drivers = CsiDrivers(context.config["csi_folder"])
        self._classes, self._objects, self._nodes = of(CLASSES), of(DRIVERS), of("nodes")
        self._csi_nodes, self._capacities = of(CSI_NODES), of(CAPACITIES)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(CLASSES),
            Watch(DRIVERS, self._every),
            Watch(CSI_NODES, self._every),
            Watch(CAPACITIES, lambda capacity: [capacity["storageClassName"]]),
            Watch(VOLUMES, lambda volume: filter(None, [volume["spec"].get("storageClassName")])),
        ]

    def _every(self, _: Object) -> Iterable[str]:
        return [meta.name(each) for each in self._classes.list()]

    async def reconcile(self, key: str) -> Result | None:
        from cluster.csi.driver import CsiError

        storage_class = self._classes.get(key)
        ours = {meta.name(c): c for c in self._capacities.list() if _is_ours(c, key)}
        name = (storage_class or {}).get("provisioner") or ""
        counted = (self._objects.get(name) or {"spec": {}})["spec"].get("storageCapacity")
        if storage_class is None or not counted:
            for capacity in ours.values():
                await self._remove(capacity)
            return None
        try:
            await self._publish(name, storage_class, ours)
        except CsiError as error:
            text = f"capacity of driver {name}: {error}"
            self.events.event(storage_class, "Warning", "CapacityUnknown", text)
            return Result(5.0)
        return Result(_POLL_S)

    async def _publish(self, name: str, storage_class: Object, ours: Mapping[str, Object]) -> None:
        from cluster.csi import capability, csi_pb2

        driver = await self._drivers.get(name)
        if driver is None:
            return
        parameters = storage_class.get("parameters") or {}
        wanted = set()
        for segments in sorted(self._topologies(name), key=sorted):
            request = csi_pb2.GetCapacityRequest(
                parameters=csi_drivers.plain(parameters),
                accessible_topology=csi_pb2.Topology(segments=dict(segments)),
                volume_capabilities=[
                    capability.of(
                        ("ReadWriteOnce",), block=False, fs_type=csi_drivers.fs_type(parameters)
                    )
                ],
            )
            answer = await driver.call(request)
            capacity = _describe(name, meta.name(storage_class), segments, answer)
            wanted.add(meta.name(capacity))
            await self._write(capacity, ours.get(meta.name(capacity)))
        for gone in ours.keys() - wanted:
            await self._remove(ours[gone])

    def _topologies(self, driver: str) -> set[Segments]:
        """Each part of the cluster that the driver tells apart, by the labels of its nodes."""
        found = set()
        for csi_node in self._csi_nodes.list():
            node = self._nodes.get(meta.name(csi_node)) or {"metadata": {}}
            labels = node["metadata"].get("labels") or {}
            for entry in csi_node["spec"].get("drivers") or ():
                keys = entry.get("topologyKeys") or ()
                if entry["name"] == driver and all(key in labels for key in keys):
                    found.add(frozenset((key, str(labels[key])) for key in keys))
        return found

    async def _write(self, new: Object, old: Object | None) -> None:
        if old is None:
            try:
                await self.client.create(CAPACITIES, new)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            return
        sizes = {key: new.get(key) for key in ("capacity", "maximumVolumeSize")}
        if any(old.get(key) != value for key, value in sizes.items()):
            kept = {key: value for key, value in {**old, **sizes}.items() if value is not None}
            await self.client.update(CAPACITIES, kept)

    async def _remove(self, capacity: Object) -> None:
        try:
            await self.client.delete(CAPACITIES, meta.name(capacity), NAMESPACE)
        except ApiError as error:
            if error.code != 404:
                raise


def _is_ours(capacity: Object, storage_class: str) -> bool:
    labels = capacity["metadata"].get("labels") or {}
    return MANAGED.items() <= labels.items() and capacity["storageClassName"] == storage_class


def _describe(driver: str, storage_class: str, segments: Segments, answer: Any) -> Object:
    text = f"{driver}/{storage_class}/{sorted(segments)}"
    name = f"csisc-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    found: Object = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIStorageCapacity",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": dict(MANAGED)},
        "storageClassName": storage_class,
        "nodeTopology": {"matchLabels": dict(segments)},
        "capacity": str(answer.available_capacity),
    }
    if answer.HasField("maximum_volume_size"):
        found["maximumVolumeSize"] = str(answer.maximum_volume_size.value)
    return found
