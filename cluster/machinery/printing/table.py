"""The Table object."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.machinery.printing import core, networking, nodes, pods, workloads
from cluster.machinery.printing.columns import NAME, Column, Object, Printer, name
from cluster.machinery.resources import Resource


def _generic_cells(obj: Object, _: float) -> list[Any]:
    return [name(obj), (obj.get("metadata") or {}).get("creationTimestamp")]


_CREATED = Column("Created At", "When the object was created.", "date")
_GENERIC = Printer((NAME, _CREATED), _generic_cells)
_PRINTERS: dict[str, Printer] = {
    **core.PRINTERS,
    **networking.PRINTERS,
    **nodes.PRINTERS,
    **pods.PRINTERS,
    **workloads.PRINTERS,
}


def table(
    resource: Resource,
    objects: Iterable[Object],
    now_s: float,
    wide_columns_included: bool = True,
    *,
    include_object: str = "Metadata",
    list_meta: Object | None = None,
    api_version: str = "meta.k8s.io/v1",
    columns_included: bool = True,
) -> Object:
    """A Table of the objects, each an object of `resource` in JSON form.

    Clients drop the wide columns themselves unless asked to show them, so they are normally
    included. `include_object` is None, Metadata or Object, as in the request. In a watch only
    the first table carries `columnDefinitions`.
    """
    printer = _PRINTERS.get(resource.group_resource, _GENERIC)
    shown = [at for at, c in enumerate(printer.columns) if wide_columns_included or not c.priority]
    columns = [printer.columns[at].definition() for at in shown]
    rows = [_row(printer, shown, obj, now_s, include_object, api_version) for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": list_meta or {},
        "columnDefinitions": columns if columns_included else [],
        "rows": rows,
    }


def _row(
    printer: Printer, shown: list[int], obj: Object, now_s: float, include: str, api_version: str
) -> Object:
    cells = printer.cells(obj, now_s)
    row: Object = {"cells": [cells[at] for at in shown]}
    conditions = printer.conditions(obj) if printer.conditions else []
    if conditions:
        row["conditions"] = conditions
    row["object"] = _included(obj, include, api_version)
    return row


def _included(obj: Object, include: str, api_version: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    metadata = obj.get("metadata") or {}
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata}
