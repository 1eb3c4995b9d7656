"""Rows of volumes, claims, and what provides them."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.printing.columns import AGE, NAME, Cells, Column, Printer
from cluster.machinery.printing.duration import age

UNSET = "<unset>"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _modes(modes: list[str] | None) -> str:
    return ",".join(_MODES[m] for m in _MODES if m in (modes or ()))


def _phase(obj: meta.Object) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(obj.get("status", {}).get("phase", ""))


def _class_name(obj: meta.Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    old = annotations.get("volume.beta.kubernetes.io/storage-class")
    return str(old if old is not None else obj["spec"].get("storageClassName") or "")


def _volume(obj: meta.Object, now_s: float) -> Cells:
    spec = obj["spec"]
    claim: dict[str, Any] = spec.get("claimRef") or {}
    return [
        obj["metadata"]["name"],
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class_name(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        obj.get("status", {}).get("reason", ""),
        age(obj, now_s),
        spec.get("volumeMode") or UNSET,
    ]


def _claim(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    bound = bool(spec.get("volumeName"))
    return [
        obj["metadata"]["name"],
        _phase(obj),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        _class_name(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj, now_s),
        spec.get("volumeMode") or UNSET,
    ]


def _storage_class(obj: meta.Object, now_s: float) -> Cells:
    annotations = obj["metadata"].get("annotations") or {}
    name = obj["metadata"]["name"]
    if any(annotations.get(key) == "true" for key in _DEFAULT_CLASS):
        name += " (default)"
    return [
        name,
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now_s),
    ]


def _driver(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    tokens = ",".join(token.get("audience", "") for token in spec.get("tokenRequests") or [])
    return [
        obj["metadata"]["name"],
        spec.get("attachRequired", True),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        tokens or UNSET,
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ["Persistent"]),
        age(obj, now_s),
    ]


def _csi_node(obj: meta.Object, now_s: float) -> Cells:
    drivers = (obj.get("spec") or {}).get("drivers") or []
    return [obj["metadata"]["name"], len(drivers), age(obj, now_s)]


def _capacity(obj: meta.Object, _now_s: float) -> Cells:
    return [obj["metadata"]["name"], obj.get("storageClassName", ""), obj.get("capacity", "")]


def _attachment(obj: meta.Object, now_s: float) -> Cells:
    spec = obj["spec"]
    return [
        obj["metadata"]["name"],
        spec.get("attacher", ""),
        (spec.get("source") or {}).get("persistentVolumeName", ""),
        spec.get("nodeName", ""),
        bool(obj.get("status", {}).get("attached")),
        age(obj, now_s),
    ]


def _attributes_class(obj: meta.Object, now_s: float) -> Cells:
    return [obj["metadata"]["name"], obj.get("driverName", ""), age(obj, now_s)]


_ATTRIBUTES = Column("VolumeAttributesClass")
PRINTERS = {
    "persistentvolumes": Printer(
        (NAME, Column("Capacity"), Column("Access Modes"), Column("Reclaim Policy"),
         Column("Status"), Column("Claim"), Column("StorageClass"), _ATTRIBUTES,
         Column("Reason"), AGE, Column("VolumeMode", wide=True)), _volume),
    "persistentvolumeclaims": Printer(
        (NAME, Column("Status"), Column("Volume"), Column("Capacity"), Column("Access Modes"),
         Column("StorageClass"), _ATTRIBUTES, AGE, Column("VolumeMode", wide=True)), _claim),
    "storageclasses.storage.k8s.io": Printer(
        (NAME, Column("Provisioner"), Column("ReclaimPolicy"), Column("VolumeBindingMode"),
         Column("AllowVolumeExpansion", "boolean"), AGE), _storage_class),
    "csidrivers.storage.k8s.io": Printer(
        (NAME, Column("AttachRequired", "boolean"), Column("PodInfoOnMount", "boolean"),
         Column("StorageCapacity", "boolean"), Column("TokenRequests"),
         Column("RequiresRepublish", "boolean"), Column("Modes"), AGE), _driver),
    "csinodes.storage.k8s.io": Printer((NAME, Column("Drivers", "integer"), AGE), _csi_node),
    "csistoragecapacities.storage.k8s.io": Printer(
        (NAME, Column("StorageClassName"), Column("Capacity")), _capacity),
    "volumeattachments.storage.k8s.io": Printer(
        (NAME, Column("Attacher"), Column("PV"), Column("Node"), Column("Attached", "boolean"),
         AGE), _attachment),
    "volumeattributesclasses.storage.k8s.io": Printer(
        (NAME, Column("DriverName"), AGE), _attributes_class),
}  # fmt: skip
