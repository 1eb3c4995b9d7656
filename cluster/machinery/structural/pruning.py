"""Pruning: dropping what a structural schema does not specify (apiextensions' pruning)."""

from __future__ import annotations

from typing import Any

from cluster.machinery import schema, strict
from cluster.machinery.structural.schema import ROOT_FIELDS, Structural, join

Object = dict[str, Any]


def unknown(obj: Object, structural: Structural) -> list[str]:
    """Paths of the fields that pruning would drop."""
    found: list[str] = []
    _walk(obj, structural, "", found, drop=False)
    return found


def prune(obj: Object, structural: Structural) -> None:
    """In place."""
    _walk(obj, structural, "", [], drop=True)


def _walk(value: Any, node: Structural, path: str, found: list[str], drop: bool) -> None:
    if isinstance(value, list):
        if node.items is not None:
            for at, item in enumerate(value):
                _walk(item, node.items, f"{path}[{at}]", found, drop)
        elif not node.preserve and node.type == "array":
            return
    elif isinstance(value, dict):
        _object(value, node, path, found, drop)


def _object(value: Object, node: Structural, path: str, found: list[str], drop: bool) -> None:
    for name in list(value):
        inner = join(path, name)
        child = node.properties.get(name)
        if node.is_resource and name in ROOT_FIELDS:
            if name == "metadata" and not node.root:
                _metadata(value[name], inner, found, drop)
            continue
        if child is None:
            child = node.additional
        if child is not None:
            _walk(value[name], child, inner, found, drop)
        elif not node.preserve and not node.open:
            found.append(inner)
            if drop:
                del value[name]


def _metadata(value: Any, path: str, found: list[str], drop: bool) -> None:
    """The metadata of an embedded resource has the fields of every object's metadata."""
    if not isinstance(value, dict):
        return
    prefix = 'unknown field "'
    found.extend(join(path, f[len(prefix) : -1]) for f in strict.check(value, schema.OBJECT_META))
    if drop:
        strict.prune(value, schema.OBJECT_META)
