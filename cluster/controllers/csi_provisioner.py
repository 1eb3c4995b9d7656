"""Volumes of CSI drivers: made and deleted by their controller services.

As upstream's external-provisioner: topology follows the scheduler's choice of a node; what a try
whose end is not known may have made is asked for again under the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.client import Client
from cluster.controllers import csi_drivers
from cluster.controllers.csi_drivers import CsiDrivers
from cluster.controllers.framework import Context
from cluster.controllers.provisioner import Made, Provisioner, Refused
from cluster.machinery import quantity
from cluster.machinery.status import ApiError

if TYPE_CHECKING:
    from cluster.csi.driver import Driver

Object = dict[str, Any]

CSI_NODES = "csinodes.storage.k8s.io"
DELETE_SECRET = (
    "volume.kubernetes.io/provisioner-deletion-secret-name",
    "volume.kubernetes.io/provisioner-deletion-secret-namespace",
)
_SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
_RESCHEDULED = ("RESOURCE_EXHAUSTED",)


class CsiProvisioner(Provisioner):
    """`config["csi_folder"]`: where the sockets of drivers are; off without it."""

    name = "csi-provisioner"
    account = "csi-controller"
    finalizer = "external-provisioner.volume.kubernetes.io/finalizer"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._drivers = CsiDrivers(context.config["csi_folder"])

    def serves(self, driver: str) -> bool:
        """Names of drivers have no slash; those that are not ours are refused when asked."""
        return bool(driver) and "/" not in driver

    async def make(self, name: str, claim: Object, storage_class: Object, node: str) -> Made:
        from cluster.csi.driver import CsiError

        driver = await self._driver(storage_class["provisioner"])
        try:
            return await self._create(driver, name, claim, storage_class, node)
        except ApiError as error:
            if error.code != 404:
                raise
            raise Refused(str(error)) from error
        except CsiError as error:
            again = bool(node) and error.code in _RESCHEDULED
            raise Refused(str(error), reschedule=again, after_s=2.0) from error

    async def _driver(self, name: str) -> Driver:
        found = await self._drivers.get(name)
        if found is None:
            raise Refused(f"there is no CSI driver {name} beside this manager", after_s=5.0)
        return found

    async def _create(
        self, driver: Driver, name: str, claim: Object, storage_class: Object, node: str
    ) -> Made:
        from cluster.csi import capability, csi_pb2

        parameters, spec = storage_class.get("parameters") or {}, claim["spec"]
        kind, rpcs = csi_drivers.fs_type(parameters), csi_pb2.ControllerServiceCapability.RPC
        wanted = capability.of(
            spec["accessModes"],
            block=spec.get("volumeMode") == "Block",
            fs_type=kind,
            options=storage_class.get("mountOptions") or (),
            single_writer=await driver.controller_can(rpcs.SINGLE_NODE_MULTI_WRITER),
        )
        secret = csi_drivers.secret_ref(parameters, "provisioner", claim)
        size = quantity.value(spec["resources"]["requests"]["storage"])
        request = csi_pb2.CreateVolumeRequest(
            name=name,
            capacity_range=csi_pb2.CapacityRange(required_bytes=size),
            volume_capabilities=[wanted],
            parameters=csi_drivers.plain(parameters),
            secrets=await csi_drivers.secrets(self.client, secret),
            volume_content_source=await content_source(self.client, claim),
        )
        if node and await driver.has_topology():
            topology = await self._topology(driver.name, node)
            request.accessibility_requirements.CopyFrom(topology)
        volume = (await driver.call(request)).volume
        return _made(driver.name, volume, claim, parameters, kind, secret)

    async def _topology(self, driver: str, node: str) -> Any:
        """The node's own, by the keys that its driver has named."""
        from cluster.csi import csi_pb2

        csi_node = await self.informers.ask(CSI_NODES, node)
        listed = ((csi_node or {}).get("spec") or {}).get("drivers") or ()
        keys = next((d.get("topologyKeys") or () for d in listed if d["name"] == driver), None)
        if keys is None:
            raise Refused(f"driver {driver} is not on node {node}", reschedule=True)
        found = await self.client.get("nodes", node)
        labels = found["metadata"].get("labels") or {}
        here = csi_pb2.Topology(segments={key: labels[key] for key in keys if key in labels})
        return csi_pb2.TopologyRequirement(requisite=[here], preferred=[here])

    async def unmake(self, volume: Object) -> bool:
        from cluster.csi import csi_pb2
        from cluster.csi.driver import CsiError

        csi, marks = volume["spec"]["csi"], volume["metadata"].get("annotations") or {}
        names = [marks.get(key) for key in DELETE_SECRET]
        reference = dict(zip(("name", "namespace"), names, strict=True)) if all(names) else None
        driver = await self._driver(csi["driver"])
        try:
            request = csi_pb2.DeleteVolumeRequest(
                volume_id=csi["volumeHandle"],
                secrets=await csi_drivers.secrets(self.client, reference),
            )
            await driver.call(request)
        except CsiError as error:
            if error.code != "NOT_FOUND":
                raise Refused(str(error), after_s=2.0) from error
        return True


async def content_source(client: Client, claim: Object) -> Any:
    """What the volume is to hold from the start. Raises Refused while that is not there."""
    from cluster.csi import csi_pb2

    source = claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef")
    if not source:
        return None
    found = csi_pb2.VolumeContentSource()
    namespace, name = claim["metadata"]["namespace"], source["name"]
    if source["kind"] == "PersistentVolumeClaim" and not source.get("apiGroup"):
        other = await client.get("persistentvolumeclaims", name, namespace)
        volume = other["spec"].get("volumeName")
        if (other.get("status") or {}).get("phase") != "Bound":
            raise Refused(f"claim {name}, which is to be cloned, is not bound", after_s=2.0)
        spec = (await client.get("persistentvolumes", volume))["spec"]
        if "csi" not in spec:
            raise Refused(f"claim {name}, which is to be cloned, has no CSI volume")
        found.volume.volume_id = spec["csi"]["volumeHandle"]
        return found
    if source["kind"] == "VolumeSnapshot" and source.get("apiGroup") == _SNAPSHOT_GROUP:
        found.snapshot.snapshot_id = await _snapshot_handle(client, namespace, name)
        return found
    raise Refused(f"a volume cannot be made from a {source['kind']}", after_s=300.0)


async def _snapshot_handle(client: Client, namespace: str, name: str) -> str:
    from cluster.controllers.snapshots import CONTENTS, SNAPSHOTS

    snapshot = await client.get(SNAPSHOTS, name, namespace)
    status = snapshot.get("status") or {}
    if not status.get("readyToUse"):
        raise Refused(f"snapshot {name} is not ready to use", after_s=2.0)
    content = await client.get(CONTENTS, status["boundVolumeSnapshotContentName"])
    return str(content["status"]["snapshotHandle"])


def _made(
    driver: str,
    volume: Any,
    claim: Object,
    parameters: dict[str, str],
    kind: str,
    secret: Object | None,
) -> Made:
    """Pure: the PersistentVolume's parts from what the driver has answered."""
    csi: Object = {"driver": driver, "volumeHandle": volume.volume_id}
    if volume.volume_context:
        csi["volumeAttributes"] = dict(volume.volume_context)
    if kind and claim["spec"].get("volumeMode") != "Block":
        csi["fsType"] = kind
    for field, use in _SECRET_FIELDS.items():
        if (reference := csi_drivers.secret_ref(parameters, use, claim)) is not None:
            csi[field] = reference
    marks = {} if secret is None else dict(zip(DELETE_SECRET, secret.values(), strict=True))
    asked = claim["spec"]["resources"]["requests"]["storage"]
    size = str(volume.capacity_bytes or quantity.value(asked))
    return Made({"csi": csi}, _size(size, asked), _affinity(volume), marks)


_SECRET_FIELDS = {
    "controllerPublishSecretRef": "controller-publish",
    "nodeStageSecretRef": "node-stage",
    "nodePublishSecretRef": "node-publish",
    "controllerExpandSecretRef": "controller-expand",
    "nodeExpandSecretRef": "node-expand",
}


def _size(made: str, asked: str) -> str:
    """As it was asked for, where it is that."""
    return asked if quantity.parse(made) == quantity.parse(asked) else made


def _affinity(volume: Any) -> Object | None:
    terms = [
        {
            "matchExpressions": [
                {"key": key, "operator": "In", "values": [value]}
                for key, value in sorted(topology.segments.items())
            ]
        }
        for topology in volume.accessible_topology
    ]
    return {"required": {"nodeSelectorTerms": terms}} if terms else None
