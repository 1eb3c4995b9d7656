"""Nulls of JSON, as Go's decoder resolves them: a null field is absent, a null element is zero."""

from __future__ import annotations

from typing import Any

from cluster.machinery import schema

_ZEROS: dict[str, Any] = {
    "string": "",
    "string:byte": "",
    "boolean": False,
    "integer:int32": 0,
    "integer:int64": 0,
    "number:double": 0,
    schema.QUANTITY: "0",
    schema.INT_OR_STRING: 0,
}


def resolve(obj: dict[str, Any], type_name: str) -> None:
    """In place, wherever the schema reaches; content that is anybody's keeps its nulls."""
    if contains_null(obj):
        _struct(obj, type_name)


def contains_null(value: Any) -> bool:
    """Whether there is a null anywhere: most objects have none, and need no second look."""
    rest = [value]
    while rest:
        item = rest.pop()
        if item is None:
            return True
        if isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return False


def _zero(type_: str) -> Any:
    """The zero value of an element; times and structs that are null stay out."""
    if type_ in _ZEROS:
        return _ZEROS[type_]
    if type_.startswith("[]"):
        return []
    definition = schema.find(type_)
    return {} if definition is None or not definition.scalar else None


def _struct(obj: dict[str, Any], type_name: str) -> None:
    definition = schema.find(type_name)
    if definition is None or definition.scalar:
        return
    for name in [name for name, value in obj.items() if value is None]:
        del obj[name]
    for name, value in obj.items():
        field = definition.fields.get(name)
        if field is not None and isinstance(value, dict | list):
            _value(value, field.type)


def _value(value: Any, type_: str) -> None:
    if type_.startswith("[]") and isinstance(value, list):
        value[:] = [_zero(type_[2:]) if item is None else item for item in value]
        for item in value:
            _value(item, type_[2:])
    elif type_.startswith("{}") and isinstance(value, dict):
        for key, item in value.items():
            value[key] = _zero(type_[2:]) if item is None else item
            _value(value[key], type_[2:])
    elif isinstance(value, dict):
        _struct(value, type_)


def drop(obj: dict[str, Any]) -> None:
    """In place: a null field is an absent field, as in Go's structs."""
    for key in [k for k, v in obj.items() if v is None]:
        del obj[key]
    for value in obj.values():
        if isinstance(value, dict):
            drop(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    drop(item)
