"""Nodes."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.printing.columns import (
    AGE,
    NAME,
    NONE,
    Column,
    Object,
    Printer,
    age,
    name,
    wide,
)

_COLUMNS = (
    NAME,
    Column("Status", "Whether the node is ready, and whether pods may be scheduled on it."),
    Column("Roles", "The roles that the node's labels name."),
    AGE,
    Column("Version", "The version of the kubelet."),
    wide("Internal-IP", "The node's address inside the cluster."),
    wide("External-IP", "The node's address outside the cluster."),
    wide("OS-Image", "The operating system."),
    wide("Kernel-Version", "The kernel."),
    wide("Container-Runtime", "The container runtime and its version."),
)
_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"
_UNKNOWN = "<unknown>"


def _status(node: Object) -> str:
    ready = meta.condition(node, "Ready")
    if ready is None:
        text = "Unknown"
    else:
        text = "Ready" if ready.get("status") == "True" else "NotReady"
    return text + (",SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else "")


def _roles(node: Object) -> str:
    labels = (node.get("metadata") or {}).get("labels") or {}
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    roles.add(labels.get(_ROLE_LABEL, ""))
    return ",".join(sorted(roles - {""})) or NONE


def _address(status: Object, type_: str) -> str:
    addresses = status.get("addresses") or ()
    return next((a["address"] for a in addresses if a.get("type") == type_), NONE)


def _cells(node: Object, now_s: float) -> list[Any]:
    status = node.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        name(node),
        _status(node),
        _roles(node),
        age(node, now_s),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or _UNKNOWN,
        info.get("kernelVersion") or _UNKNOWN,
        info.get("containerRuntimeVersion") or _UNKNOWN,
    ]


PRINTERS = {"nodes": Printer(_COLUMNS, _cells)}
