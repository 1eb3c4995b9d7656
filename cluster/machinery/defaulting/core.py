"""Defaults of namespaces, nodes, secrets and volumes (pkg/apis/core/v1/defaults.go)."""

from __future__ import annotations

import base64

from cluster.machinery.defaulting.values import Object, default, part

NAME_LABEL = "kubernetes.io/metadata.name"


def apply_namespace(obj: Object) -> None:
    """Phase Active, and the label that selectors find it by."""
    default(part(obj, "status"), "phase", "Active")
    name = (obj.get("metadata") or {}).get("name")
    if name:
        part(obj["metadata"], "labels")[NAME_LABEL] = name


def apply_node(obj: Object) -> None:
    """Everything that the node has may be allocated."""
    status = obj.get("status") or {}
    if status.get("capacity") and status.get("allocatable") is None:
        status["allocatable"] = dict(status["capacity"])


def apply_secret(obj: Object) -> None:
    """Type Opaque; `stringData`, which can only be written, goes into `data` and wins there."""
    default(obj, "type", "Opaque")
    for key, text in (obj.pop("stringData", None) or {}).items():
        part(obj, "data")[key] = base64.b64encode(str(text).encode()).decode()


def apply_persistent_volume(obj: Object) -> None:
    """Retain, Filesystem, Pending."""
    spec = part(obj, "spec")
    default(spec, "persistentVolumeReclaimPolicy", "Retain")
    default(spec, "volumeMode", "Filesystem")
    if spec.get("hostPath") is not None:
        spec["hostPath"].setdefault("type", "")
    default(part(obj, "status"), "phase", "Pending")


def apply_persistent_volume_claim(obj: Object) -> None:
    """Filesystem, Pending."""
    default(part(obj, "spec"), "volumeMode", "Filesystem")
    default(part(obj, "status"), "phase", "Pending")
