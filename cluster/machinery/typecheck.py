"""JSON types against the schema, with the messages of Go's decoder.

A checker is compiled per type: a function that takes a value, the Go struct it stands in and
the path of field names, and appends messages. null is fine everywhere, as in Go.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cluster.machinery import meta, quantity, schema

Checker = Callable[[Any, str, str, list[str]], None]

_RANGES = {"integer:int32": ("int32", 2**31), "integer:int64": ("int64", 2**63)}
_GO = {"string": "string", "boolean": "bool", "string:byte": "[]uint8", "number:double": "float64"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def check_types(obj: Mapping[str, Any], type_name: str) -> list[str]:
    """What Go's decoder says of each value of the wrong JSON type, in order of the object.

    `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type
    int32`; the server puts the kind in front and answers 400.
    """
    found: list[str] = []
    _checker(type_name)(obj, "", "", found)
    return found


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _go_type(type_: str) -> str:
    """ "[]v1.Container" of "[]k8s.io.api.core.v1.Container"."""
    if type_.startswith("[]"):
        return "[]" + _go_type(type_[2:])
    if type_.startswith("{}"):
        return "map[string]" + _go_type(type_[2:])
    if type_ in _RANGES:
        return _RANGES[type_][0]
    return _GO.get(type_) or ".".join(type_.split(".")[-2:])


def _wrong(value: Any, type_: str, struct: str, path: str, number: str = "") -> str:
    what = _kind(value) + (f" {number}" if number else "")
    place = f"Go struct field {struct}.{path}" if path else "Go value"
    return f"json: cannot unmarshal {what} into {place} of type {_go_type(type_)}"


@cache
def _checker(type_: str) -> Checker:
    if type_.startswith("[]"):
        return _list_checker(type_)
    if type_.startswith("{}"):
        return _map_checker(type_)
    if type_ in _RANGES:
        return _integer_checker(type_)
    if type_ in _SPECIAL:
        return _SPECIAL[type_]
    definition = schema.find(type_)
    if definition is not None and definition.scalar:
        return _object if definition.scalar == "object" else _anything
    return _struct_checker(type_) if definition else _plain_checker(type_)


def _list_checker(type_: str) -> Checker:
    element = _checker(type_[2:])

    def check(value: Any, struct: str, path: str, found: list[str]) -> None:
        if isinstance(value, list):
            for item in value:
                element(item, struct, path, found)
        elif value is not None:
            found.append(_wrong(value, type_, struct, path))

    return check


def _map_checker(type_: str) -> Checker:
    element = _checker(type_[2:])

    def check(value: Any, struct: str, path: str, found: list[str]) -> None:
        if isinstance(value, dict):
            for item in value.values():
                element(item, struct, path, found)
        elif value is not None:
            found.append(_wrong(value, type_, struct, path))

    return check


def _integer_checker(type_: str) -> Checker:
    bound = _RANGES[type_][1]

    def check(value: Any, struct: str, path: str, found: list[str]) -> None:
        if (type(value) is int and -bound <= value < bound) or value is None:
            return
        if type(value) is float and value.is_integer() and -bound <= value < bound:
            return
        number = str(value) if _kind(value) == "number" else ""
        found.append(_wrong(value, type_, struct, path, number))

    return check


def _plain_checker(type_: str) -> Checker:
    good = {"string": str, "boolean": bool, "string:byte": str}.get(type_, (int, float))

    def check(value: Any, struct: str, path: str, found: list[str]) -> None:
        if value is not None and not isinstance(value, good):
            found.append(_wrong(value, type_, struct, path))

    return _bytes if type_ == "string:byte" else check


def _struct_checker(type_: str) -> Checker:
    own = type_.rpartition(".")[2]
    fields: dict[str, Checker] = {}

    def check(value: Any, struct: str, path: str, found: list[str]) -> None:
        if not isinstance(value, dict):
            if value is not None:
                found.append(_wrong(value, type_, struct, path))
            return
        if not fields:  # on first use, since a type may contain itself
            fields.update({n: _checker(f.type) for n, f in schema.definition(type_).fields.items()})
        prefix = path + "." if path else ""
        for name, item in value.items():
            if name in fields and item is not None:
                fields[name](item, own, prefix + name, found)

    return check


def _bytes(value: Any, struct: str, path: str, found: list[str]) -> None:
    if not isinstance(value, str):
        found.append(_wrong(value, "string:byte", struct, path))
        return
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        good = re.match(r"[A-Za-z0-9+/]*", value)
        found.append(f"illegal base64 data at input byte {good.end() if good else 0}")


def _quantity(value: Any, struct: str, path: str, found: list[str]) -> None:
    if _kind(value) not in ("string", "number"):
        found.append(_wrong(value, schema.QUANTITY, struct, path))
        return
    try:
        quantity.parse(value)
    except quantity.QuantityError as error:
        found.append(str(error))


def _time(value: Any, struct: str, path: str, found: list[str]) -> None:
    if not isinstance(value, str):
        found.append(_wrong(value, schema.TIME, struct, path))
    elif not _TIME.fullmatch(value) or not _is_time(value):
        layout = "2006-01-02T15:04:05Z07:00"
        found.append(f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"')


def _is_time(text: str) -> bool:
    try:
        meta.parse_time(text)
    except ValueError:
        return False
    return True


def _int_or_string(value: Any, struct: str, path: str, found: list[str]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        found.append(_wrong(value, schema.INT_OR_STRING, struct, path))


def _object(value: Any, struct: str, path: str, found: list[str]) -> None:
    if not isinstance(value, dict):
        found.append(f"json: cannot unmarshal {_kind(value)} into Go struct field {struct}.{path}")


def _anything(value: Any, struct: str, path: str, found: list[str]) -> None:
    """JSON of any form."""


_SPECIAL: dict[str, Checker] = {
    schema.QUANTITY: _quantity,
    schema.TIME: _time,
    schema.MICRO_TIME: _time,
    schema.INT_OR_STRING: _int_or_string,
}
