"""Types of custom resources, from structural schemas (OpenAPI v3 with x-kubernetes markers)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.machinery.apply.builtin import BUILTIN
from cluster.machinery.apply.schema import ANY, LEAF, ListType, MapType, Object, Type

Schema = dict[str, Any]


class Custom:
    """The versions of one definition. `schemas`: by apiVersion.

    Between versions fields are taken to have the same names: what a conversion webhook would make
    of them is not asked, for ownership is worked out inside a write.
    """

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._types = {version: of_root(schema) for version, schema in schemas.items()}

    def type_of(self, api_version: str, kind: str) -> MapType | None:
        return self._types.get(api_version)

    def convert(self, obj: Object, api_version: str) -> Object:
        return {**obj, "apiVersion": api_version}


def of_root(schema: Schema) -> MapType:
    """The type of a whole custom resource; its metadata is that of every object."""
    found = of(schema)
    fields = dict(found.fields) if isinstance(found, MapType) else {}
    return MapType({**fields, "metadata": metadata()}, rest=ANY)


def metadata() -> Type:
    """ObjectMeta's type."""
    pod = BUILTIN.type_of("v1", "Pod")
    assert pod is not None
    return pod.fields["metadata"]


def of(schema: Schema) -> Type:
    """The type of a value that a schema describes."""
    kind = schema.get("type")
    if kind == "array":
        return _list(schema)
    if schema.get("x-kubernetes-map-type") == "atomic":
        return LEAF
    if kind == "object" or schema.get("properties") or "additionalProperties" in schema:
        return _map(schema)
    if schema.get("x-kubernetes-preserve-unknown-fields") or not kind:
        return LEAF if schema.get("x-kubernetes-int-or-string") else ANY
    return LEAF


def _map(schema: Schema) -> Type:
    if schema.get("x-kubernetes-embedded-resource"):
        inner = MapType({n: of(s) for n, s in schema.get("properties", {}).items()}, rest=ANY)
        inner.fields["metadata"] = metadata()
        return inner
    rest: Type | None = None
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict) and additional:
        rest = of(additional)
    elif additional or schema.get("x-kubernetes-preserve-unknown-fields"):
        rest = ANY
    required = frozenset(schema.get("required") or ())
    return MapType({n: of(s) for n, s in (schema.get("properties") or {}).items()}, rest, required)


def _list(schema: Schema) -> Type:
    type_ = schema.get("x-kubernetes-list-type", "atomic")
    items = schema.get("items") or {}
    if type_ == "map":
        keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        properties = items.get("properties") or {}
        defaults = {k: properties[k]["default"] for k in keys if "default" in properties.get(k, {})}
        return ListType(of(items), keys, defaults)
    return ListType(LEAF) if type_ == "set" else LEAF
