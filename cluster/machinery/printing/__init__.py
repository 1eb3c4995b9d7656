"""Tables: what `kubectl get` prints is decided by the server, one row an object.

Belongs here: columns and cells of each kind, as a 1.34 server chooses them. Does not belong here:
negotiating or encoding the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.machinery import meta
from cluster.machinery.printing import (
    access,
    components,
    core,
    network,
    pods,
    policy,
    volumes,
    workloads,
)
from cluster.machinery.printing.columns import NAME, Cells, Column, Printer
from cluster.machinery.resources import Resource


def _generic(obj: meta.Object, _now_s: float) -> Cells:
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp")]


GENERIC = Printer((NAME, Column("Created At", "date", format="date-time")), _generic)

PRINTERS: dict[str, Printer] = {
    "pods": pods.PRINTER,
    **components.PRINTERS,
    **access.PRINTERS,
    **core.PRINTERS,
    **network.PRINTERS,
    **policy.PRINTERS,
    **volumes.PRINTERS,
    **workloads.PRINTERS,
}
"""By group resource; anything else is printed with its name and creation time."""


SCALE = workloads.SCALE

__all__ = ["PRINTERS", "SCALE", "Column", "Printer", "printer", "table"]


def printer(resource: Resource) -> Printer:
    return PRINTERS.get(resource.group_resource, GENERIC)


def table(
    resource: Resource,
    objects: Iterable[meta.Object],
    now_s: float,
    *,
    include_object: str = "Metadata",
    list_meta: dict[str, Any] | None = None,
    api_version: str = "meta.k8s.io/v1",
    columns_included: bool = True,
    found: Printer | None = None,
) -> dict[str, Any]:
    """A Table of these objects. `include_object`: None, Metadata or Object, in each row.

    `columns_included=False` leaves the definitions out: in a watch only the first event has them.
    `found` prints what is not in the table of printers.
    """
    found = found or printer(resource)
    rows = [_row(found, obj, now_s, include_object, api_version) for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": list_meta or {},
        "columnDefinitions": [column.definition() for column in found.columns]
        if columns_included
        else None,
        "rows": rows,
    }


def _row(
    found: Printer, obj: meta.Object, now_s: float, include_object: str, api_version: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": found.row(obj, now_s)}
    if include_object == "Object":
        row["object"] = obj
    elif include_object == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": api_version,
            "metadata": obj["metadata"],
        }
    return row
