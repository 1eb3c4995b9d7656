"""Schemas of types, with the markers that kubectl merges by; shared by both versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from cluster.machinery import schema

Reference = Callable[[str], str]
"""From a schema's name to the `$ref` that points at it."""


class Described(Protocol):
    """What a type is for, and each of its fields; "" and nothing where nobody has said."""

    @property
    def text(self) -> str: ...

    @property
    def fields(self) -> Mapping[str, str]: ...


Describe = Callable[[str], Described]


def public_name(type_name: str) -> str:
    """`k8s.io.api.core.v1.Pod` -> `io.k8s.api.core.v1.Pod`, the name in OpenAPI documents."""
    return type_name.replace("k8s.io.", "io.k8s.", 1)


def reachable(roots: Iterable[str]) -> list[str]:
    """The types that these types' fields lead to, themselves included, sorted."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        found = schema.find(name)
        if found is None or name in seen:
            continue
        seen.add(name)
        waiting.extend(field.element for field in found.fields.values())
    return sorted(seen)


def of_type(
    type_name: str, reference: Reference, describe: Describe | None = None
) -> dict[str, Any]:
    """The schema of one definition."""
    found = schema.definition(type_name)
    told = describe(type_name) if describe else None
    document: dict[str, Any] = {"description": told.text} if told and told.text else {}
    if found.scalar:
        return document | _scalar(found.scalar)
    document["type"] = "object"
    if found.fields:
        document["properties"] = {
            name: _told(of_field(field, reference), told, name)
            for name, field in found.fields.items()
        }
    if found.required:
        document["required"] = list(found.required)
    if found.map_type:
        document["x-kubernetes-map-type"] = found.map_type
    if found.gvks:
        document["x-kubernetes-group-version-kind"] = [gvk(*each) for each in found.gvks]
    return document


def _told(document: dict[str, Any], told: Described | None, name: str) -> dict[str, Any]:
    text = told.fields.get(name, "") if told else ""
    return {"description": text, **document} if text else document


def gvk(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "kind": kind, "version": version}


def of_field(field: schema.Field, reference: Reference) -> dict[str, Any]:
    """The schema of a field: its type, and how lists and maps of it merge."""
    element = _element(field.element, reference)
    if field.is_list:
        document: dict[str, Any] = {"type": "array", "items": element}
    elif field.is_map:
        document = {"type": "object", "additionalProperties": element}
    else:
        document = element
    markers = {
        "x-kubernetes-list-type": field.list_type,
        "x-kubernetes-list-map-keys": list(field.list_map_keys),
        "x-kubernetes-map-type": field.map_type,
        "x-kubernetes-patch-strategy": field.patch_strategy,
        "x-kubernetes-patch-merge-key": field.patch_merge_key,
    }
    return document | {name: value for name, value in markers.items() if value}


def _element(type_name: str, reference: Reference) -> dict[str, Any]:
    if schema.find(type_name) is not None:
        return {"$ref": reference(public_name(type_name))}
    return _nested(type_name, reference)


def _nested(type_name: str, reference: Reference) -> dict[str, Any]:
    """A list of lists or a map of lists, or a scalar."""
    if type_name.startswith("[]"):
        return {"type": "array", "items": _element(type_name[2:], reference)}
    if type_name.startswith("{}"):
        return {"type": "object", "additionalProperties": _element(type_name[2:], reference)}
    return _scalar(type_name)


def _scalar(name: str) -> dict[str, Any]:
    if name == "any":
        return {}
    kind, _, form = name.partition(":")
    return {"type": kind, "format": form} if form else {"type": kind}
