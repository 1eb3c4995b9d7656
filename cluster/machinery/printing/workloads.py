"""Rows of what makes pods: deployments, replica sets, controller revisions."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.printing.columns import (
    AGE,
    NAME,
    NONE,
    Cells,
    Column,
    Printer,
    label_selector,
)
from cluster.machinery.printing.duration import age

TEMPLATE_COLUMNS = (
    Column("Containers", wide=True),
    Column("Images", wide=True),
    Column("Selector", wide=True),
)


def _template_cells(spec: dict[str, Any]) -> Cells:
    containers = spec.get("template", {}).get("spec", {}).get("containers") or []
    return [
        ",".join(container["name"] for container in containers),
        ",".join(container.get("image", "") for container in containers),
        label_selector(spec.get("selector")),
    ]


def _deployment(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now_s),
        *_template_cells(spec),
    ]


def _replica_set(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    return [
        obj["metadata"]["name"],
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now_s),
        *_template_cells(spec),
    ]


def _controller_revision(obj: meta.Object, now_s: float) -> Cells:
    owner = meta.controller_of(obj)
    name = NONE
    if owner:
        group, _ = meta.group_version(owner["apiVersion"])
        kind = owner["kind"].lower()
        name = f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"
    return [obj["metadata"]["name"], name, obj.get("revision", 0), age(obj, now_s)]


PRINTERS = {
    "deployments.apps": Printer(
        (NAME, Column("Ready"), Column("Up-to-date", "integer"), Column("Available", "integer"),
         AGE, *TEMPLATE_COLUMNS), _deployment),
    "replicasets.apps": Printer(
        (NAME, Column("Desired", "integer"), Column("Current", "integer"),
         Column("Ready", "integer"), AGE, *TEMPLATE_COLUMNS), _replica_set),
    "controllerrevisions.apps": Printer(
        (NAME, Column("Controller"), Column("Revision", "integer"), AGE), _controller_revision),
}  # fmt: skip
