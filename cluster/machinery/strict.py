"""Objects against their schema: unknown fields, duplicate keys and wrong JSON types.

Each type is compiled once into a tree of what may stand where; scalars need no entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cluster.machinery import nulls, schema
from cluster.machinery.errors import BadRequest
from cluster.machinery.typecheck import check_types

__all__ = ["check", "check_types", "duplicate_fields", "prune"]


@dataclass(slots=True)
class _Struct:
    """The fields of a type; those with structs below have a `_Below`."""

    fields: frozenset[str]
    below: dict[str, tuple[str, _Struct]] = field(default_factory=dict)


@cache
def _struct(type_name: str) -> _Struct | None:
    """None for scalars and for types whose content is anybody's."""
    definition = schema.find(type_name)
    return (
        None if definition is None or definition.scalar else _Struct(frozenset(definition.fields))
    )


@cache
def _filled(type_name: str) -> _Struct | None:
    """As `_struct`, with what lies below; a type may contain itself."""
    struct = _struct(type_name)
    if struct is None or struct.below:
        return struct
    for name, entry in schema.definition(type_name).fields.items():
        inner = _struct(entry.element)
        if inner is not None:
            struct.below[name] = (entry.type[:2] if entry.is_list or entry.is_map else "", inner)
            _SOURCES[id(inner)] = entry.element
    return struct


_SOURCES: dict[int, str] = {}
"""The type of each struct, so that it is filled when it is first walked into."""


def _ready(struct: _Struct) -> _Struct:
    if not struct.below and id(struct) in _SOURCES:
        _filled(_SOURCES[id(struct)])
    return struct


def check(obj: Mapping[str, Any], type_name: str) -> list[str]:
    """`unknown field "spec.foo"` for each field that the type has not, with its path."""
    found: list[str] = []
    struct = _filled(type_name)
    if struct is not None:
        _find_unknown(obj, struct, "", found, drop=False)
    return [f'unknown field "{path}"' for path in found]


def prune(obj: dict[str, Any], type_name: str) -> None:
    """In place: drop every field that the type has not, and resolve nulls as Go does."""
    nulls.resolve(obj, type_name)
    drop_unknown(obj, type_name)


def drop_unknown(obj: dict[str, Any], type_name: str) -> None:
    """In place: drop every field that the type has not."""
    struct = _filled(type_name)
    if struct is not None:
        _find_unknown(obj, struct, "", [], drop=True)


def _find_unknown(obj: Any, struct: _Struct, path: str, found: list[str], drop: bool) -> None:
    if not isinstance(obj, dict):
        return
    if not obj.keys() <= struct.fields:
        for name in sorted(obj.keys() - struct.fields):
            found.append(path + name)
            if drop:
                del obj[name]
    below = _ready(struct).below
    for name, value in obj.items():
        if name in below and value:
            _descend(value, *below[name], path + name, found, drop)


def _descend(
    value: Any, container: str, struct: _Struct, path: str, found: list[str], drop: bool
) -> None:
    if container == "[]" and isinstance(value, list):
        for at, item in enumerate(value):
            _find_unknown(item, struct, f"{path}[{at}].", found, drop)
    elif container == "{}" and isinstance(value, dict):
        for key, item in value.items():
            _find_unknown(item, struct, f"{path}.{key}.", found, drop)
    elif not container:
        _find_unknown(value, struct, path + ".", found, drop)


class _Marked(dict[str, Any]):
    """A JSON object that remembers which keys it was given twice."""

    repeated: tuple[str, ...] = ()


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    obj = _Marked(pairs)
    if len(obj) < len(pairs):
        names = [name for name, _ in pairs]
        obj.repeated = tuple(dict.fromkeys(n for n in names if names.count(n) > 1))
    return obj


_KEY_ENDS = re.compile(rb'"\s*:')


def _keys(value: Any) -> int:
    """How many keys all objects of a JSON value have together."""
    number, rest = 0, [value]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            number += len(item)
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return number


def duplicate_fields(body: bytes, value: Any = None) -> list[str]:
    """`duplicate field "spec.y"` for each key that stands twice in one object of JSON text.

    `value`: what it was decoded to, if that is known: where it has as many keys as the text seems
    to have (strings may look like more), there are no duplicates and no second parser is needed.
    """
    if value is not None and len(_KEY_ENDS.findall(body)) == _keys(value):
        return []
    try:
        value = json.loads(body, object_pairs_hook=_marked)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"invalid JSON: {error}") from error
    found: list[str] = []
    _find_repeated(value, "", found)
    return [f'duplicate field "{path}"' for path in found]


def _find_repeated(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Marked):
        found.extend(path + name for name in value.repeated)
        for name, item in value.items():
            if isinstance(item, dict | list):
                _find_repeated(
                    item, f"{path}{name}." if isinstance(item, dict) else path + name, found
                )
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _find_repeated(item, f"{path}[{at}].", found)
