"""Types of the built-in kinds, from the schema tables."""

from __future__ import annotations

from functools import cache

from cluster.machinery import conversion
from cluster.machinery import schema as tables
from cluster.machinery.apply.schema import ANY, LEAF, ListType, MapType, Object, Type

_KEY_DEFAULTS = {"protocol": "TCP"}
"""Keys of lists that have a default: a port without a protocol is a TCP port."""


@cache
def _struct(name: str) -> MapType:
    """Filled after it is made, for a type may contain itself."""
    return MapType()


@cache
def _of(name: str) -> Type:
    """The type of a name that stands in the tables: a definition, scalar, list or map."""
    if name.startswith("{}"):
        return MapType(rest=_of(name[2:]))
    definition = tables.find(name)
    if definition is None or definition.scalar or definition.map_type == "atomic":
        return LEAF
    return _struct(name)


@cache
def _filled(name: str) -> MapType:
    struct = _struct(name)
    pending = [name]
    while pending:
        one = pending.pop()
        target, definition = _struct(one), tables.definition(one)
        if target.fields or not definition.fields:
            continue
        target.required = frozenset(definition.required)
        for field_name, field in definition.fields.items():
            target.fields[field_name] = _field(field)
            inner = field.type.lstrip("[]{}")
            if isinstance(_of(inner), MapType):
                pending.append(inner)
    return struct


def _field(field: tables.Field) -> Type:
    if field.is_list:
        if field.list_type == "map":
            keys = field.list_map_keys
            defaults = {k: v for k, v in _KEY_DEFAULTS.items() if k in keys}
            return ListType(_of(field.element), keys, defaults)
        return ListType(LEAF) if field.list_type == "set" else LEAF
    return LEAF if field.map_type == "atomic" else _of(field.type)


class Builtin:
    """All built-in kinds."""

    def type_of(self, api_version: str, kind: str) -> MapType | None:
        name = tables.type_for(api_version, kind)
        return None if name is None else _filled(name)

    def convert(self, obj: Object, api_version: str) -> Object:
        return conversion.convert(obj, api_version)


BUILTIN = Builtin()
__all__ = ["ANY", "BUILTIN", "Builtin"]
