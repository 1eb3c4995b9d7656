"""The kinds of the API as CEL types, for checking expressions before there is any object (pure).

Types are recursive (a schema contains schemas), so fields are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from cluster.machinery import schema
from cluster.machinery.cel import types
from cluster.machinery.cel.types import Type
from cluster.machinery.structural.cel_types import escape

_SPECIAL = {
    schema.TIME: types.TIMESTAMP,
    schema.MICRO_TIME: types.TIMESTAMP,
    schema.QUANTITY: types.STRING,
}
_SCALARS = {
    "string": types.STRING,
    "boolean": types.BOOL,
    "integer": types.INT,
    "number": types.DOUBLE,
}
_FORMATS = {"string:byte": types.BYTES, "string:date-time": types.TIMESTAMP}


class _Fields(Mapping[str, Type]):
    """Of a definition, under their own names and as CEL escapes them."""

    def __init__(self, definition: schema.Definition) -> None:
        self._fields = dict(definition.fields)
        for name, field in definition.fields.items():
            self._fields.setdefault(escape(name) or name, field)

    def __getitem__(self, name: str) -> Type:
        return of(self._fields[name].type)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


@cache
def of(type_name: str) -> Type:
    """Of a type name of the tables, as `schema.Field.type` has it; dyn for what has no shape."""
    if type_name.startswith("[]"):
        return types.list_of(of(type_name[2:]))
    if type_name.startswith("{}"):
        return types.map_of(types.STRING, of(type_name[2:]))
    if type_name in _SPECIAL:
        return _SPECIAL[type_name]
    found = schema.find(type_name)
    if found is not None:
        return types.object_type(type_name, _Fields(found)) if found.fields else types.DYN
    return _FORMATS.get(type_name) or _SCALARS.get(type_name.partition(":")[0], types.DYN)
