"""Defaulting by structural schemas (apiextensions' defaulting)."""

from __future__ import annotations

import copy
from typing import Any

from cluster.machinery.structural.schema import Structural


def apply(value: Any, node: Structural) -> None:
    """In place: fill in defaults, also in what defaults have filled in."""
    if not node.has_defaults:
        return
    if isinstance(value, dict):
        _object(value, node)
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            apply(item, node.items)


def _object(value: dict[str, Any], node: Structural) -> None:
    for name, child in node.properties.items():
        if child.has_default and (name not in value or _null(value[name], child)):
            value[name] = copy.deepcopy(child.raw["default"])
        if name in value:
            apply(value[name], child)
    if node.additional is None:
        return
    for name, item in value.items():
        if name in node.properties:
            continue
        if _null(item, node.additional) and node.additional.has_default:
            value[name] = copy.deepcopy(node.additional.raw["default"])
        apply(value[name], node.additional)


def _null(value: Any, node: Structural) -> bool:
    return value is None and not node.nullable


def drop_nulls(value: Any, node: Structural) -> None:
    """In place: a null where none may be, and where no default takes its place, is absent."""
    if isinstance(value, list):
        for item in value if node.items is not None else ():
            drop_nulls(item, node.items)  # type: ignore[arg-type]
    elif isinstance(value, dict):
        for name in list(value):
            child = node.properties.get(name) or node.additional
            if child is None:
                continue
            if _null(value[name], child) and not child.has_default:
                del value[name]
            else:
                drop_nulls(value[name], child)
