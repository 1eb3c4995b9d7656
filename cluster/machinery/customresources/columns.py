"""Printing custom resources: additionalPrinterColumns, or the age where there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from cluster.machinery import jsonpath, meta
from cluster.machinery.printing import Column, Printer
from cluster.machinery.printing.columns import Cells
from cluster.machinery.printing.duration import human

Object = dict[str, Any]
Cell = Callable[[Object, float], Any]
DEFAULT = ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
            "description": "CreationTimestamp is a timestamp representing the server time when "
            "this object was created."},)  # fmt: skip


def printer(columns: Sequence[Object]) -> Printer:
    """Of a version's additionalPrinterColumns, which have been validated."""
    shown = list(columns) or list(DEFAULT)
    head = Column("Name", format="name")
    heads = [_head(c) for c in shown]
    cells = [_cell(c) for c in shown]

    def row(obj: Object, now_s: float) -> Cells:
        return [obj["metadata"].get("name", ""), *(cell(obj, now_s) for cell in cells)]

    return Printer((head, *heads), row)


def _head(column: Object) -> Column:
    wide, form = bool(column.get("priority")), column.get("format") or ""
    return Column(column["name"], column["type"], wide, form, column.get("description") or "")


def _cell(column: Object) -> Cell:
    path, convert = jsonpath.parse(column["jsonPath"]), _CONVERT.get(column["type"], _nothing)

    def cell(obj: Object, now_s: float) -> Any:
        found = path.find(obj)
        return convert(found[0], now_s) if found else None

    return cell


def _integer(value: Any, now_s: float) -> Any:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if good else None


def _number(value: Any, now_s: float) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _boolean(value: Any, now_s: float) -> Any:
    return value if isinstance(value, bool) else None


def _text(value: Any, now_s: float) -> Any:
    """As kubectl's jsonpath prints: text as it is, the rest as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def _date(value: Any, now_s: float) -> Any:
    if not isinstance(value, str):
        return None
    try:
        return human(now_s - meta.parse_time(value))
    except ValueError:
        return "<invalid>"


def _nothing(value: Any, now_s: float) -> Any:
    return None


_CONVERT: dict[str, Callable[[Any, float], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _text,
    "date": _date,
}
