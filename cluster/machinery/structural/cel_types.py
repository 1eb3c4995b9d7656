"""Structural schemas as CEL types, and objects as CEL values.

Follows `apiserver/pkg/cel`: names that are no CEL identifiers are escaped, only what the schema
specifies can be reached, and sizes are bounded by the schema or by the size of a request.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from cluster.machinery.cel import clock, types
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.estimate import MAX_REQUEST_BYTES
from cluster.machinery.cel.types import Type
from cluster.machinery.cel.values import MapList, SetList, Struct
from cluster.machinery.structural.schema import Structural

_RESERVED = frozenset(
    ("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function",
     "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while")
)  # fmt: skip
_REACHABLE = re.compile(r"[A-Za-z_.\-/][A-Za-z0-9_.\-/]*")
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPED = re.compile("__|[.]|-|/")
_FORMATS = {"byte": types.BYTES, "date": types.TIMESTAMP, "date-time": types.TIMESTAMP,
            "datetime": types.TIMESTAMP, "duration": types.DURATION}  # fmt: skip
_LEAST_BYTES = {"int": 1, "double": 1, "bool": 4, "string": 2, "bytes": 2, "list": 2, "map": 2,
                "dyn": 1, types.TIMESTAMP.name: 21, types.DURATION.name: 3}  # fmt: skip
SELF_TYPE = "selfType"


def escape(name: str) -> str | None:
    """The name of a field in CEL; None if CEL cannot name it."""
    if name in _RESERVED:
        return f"__{name}__"
    if not _REACHABLE.fullmatch(name):
        return None
    return _ESCAPED.sub(lambda match: _ESCAPES[match.group()], name)


def type_of(node: Structural, name: str = SELF_TYPE) -> Type | None:
    """The type of what stands at a node; None for what CEL cannot reach."""
    if node.int_or_string:
        return types.DYN
    if node.type == "string":
        return _string(node)
    if node.type in ("integer", "number", "boolean"):
        return {"integer": types.INT, "number": types.DOUBLE, "boolean": types.BOOL}[node.type]
    if node.type == "array":
        return _list(node, name)
    return _object(node, name) if node.type == "object" else None


def _string(node: Structural) -> Type:
    found = _FORMATS.get(node.raw.get("format") or "")
    most = node.raw.get("maxLength")
    if found is types.TIMESTAMP or found is types.DURATION:
        date = node.raw.get("format") == "date"
        size = 12 if date else 36 if found is types.TIMESTAMP else 32
        return Type(found.name, max_size=size)
    if found is types.BYTES:
        return Type("bytes", max_size=MAX_REQUEST_BYTES - 2 if most is None else int(most))
    allowed = node.raw.get("enum")
    if allowed and most is None:
        return Type("string", max_size=max(len(str(each)) for each in allowed))
    # A character may take four bytes, and cel-go counts bytes.
    return Type("string", max_size=MAX_REQUEST_BYTES - 2 if most is None else int(most) * 4)


def _list(node: Structural, name: str) -> Type | None:
    element = type_of(node.items, f"{name}.@idx") if node.items is not None else None
    if element is None:
        return None
    return types.list_of(element, max_items(node))


def max_items(node: Structural) -> int:
    """How many items or pairs may stand at a node."""
    key, overhead = ("maxItems", 1) if node.type == "array" else ("maxProperties", 6)
    most = node.raw.get(key)
    child = node.items if node.type == "array" else node.additional
    if most is not None or child is None:
        return int(most or 0)
    return (MAX_REQUEST_BYTES - 2) // (least_bytes(child) + overhead)


def least_bytes(node: Structural) -> int:
    """The size of the smallest JSON text that can stand at a node."""
    if node.type != "object" or node.additional is not None:
        if node.raw.get("format") == "date":
            return 12
        declared = type_of(node)
        return _LEAST_BYTES.get(declared.name if declared is not None else "dyn", 1)
    total = 2
    for name in node.raw.get("required") or ():
        child = node.properties.get(name)
        if child is not None and not child.has_default:
            total += len(name) + 4 + least_bytes(child)
    return total


def _object(node: Structural, name: str) -> Type | None:
    if node.additional is not None:
        value = type_of(node.additional, f"{name}.@elem")
        if value is None:
            return None
        return types.map_of(types.STRING, value, max_items(node))
    fields: dict[str, Type] = {}
    for own, child in node.properties.items():
        escaped = escape(own)
        found = type_of(child, f"{name}.{own}")
        if escaped is not None and found is not None:
            fields[escaped] = found
    if node.is_resource:
        fields |= _resource_fields(name)
    return types.object_type(name, fields)


def _resource_fields(name: str) -> dict[str, Type]:
    names = {"name": Type("string", max_size=253), "generateName": Type("string", max_size=253)}
    plain = Type("string", max_size=256)
    metadata = types.object_type(f"{name}.metadata", names)
    return {"apiVersion": plain, "kind": plain, "metadata": metadata}


# -- values ------------------------------------------------------------------------------------


def value_of(value: Any, node: Structural) -> Any:
    """A JSON value as the CEL value of its schema."""
    if value is None or node.int_or_string:
        return value
    if isinstance(value, str):
        return _text(value, node.raw.get("format") or "") if node.type == "string" else value
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value) if node.type == "number" else int(value)
    if isinstance(value, list):
        return _list_value(value, node)
    return _object_value(value, node)


def _text(value: str, form: str) -> Any:
    try:
        if form == "byte":
            return base64.b64decode(value, validate=True)
        if form in ("date-time", "datetime"):
            return clock.parse_timestamp(value)
        if form == "date":
            return clock.parse_timestamp(f"{value}T00:00:00Z")
        if form == "duration":
            return clock.parse_duration(value)
    except (EvaluationError, binascii.Error, ValueError):
        return value  # the schema's own validation says what is wrong
    return value


def _list_value(value: list[Any], node: Structural) -> list[Any]:
    items = value if node.items is None else [value_of(item, node.items) for item in value]
    if node.list_type == "set":
        return SetList(items)
    if node.list_type != "map":
        return list(items)
    found = MapList(items)
    found.keys = tuple(escape(key) or key for key in node.list_map_keys)
    return found


def _object_value(value: dict[str, Any], node: Structural) -> dict[str, Any]:
    if node.additional is not None:
        return {name: value_of(item, node.additional) for name, item in value.items()}
    found = Struct()
    for name, child in node.properties.items():
        escaped = escape(name)
        if name in value and escaped is not None:
            found[escaped] = value_of(value[name], child)
    if node.is_resource:
        for name in ("apiVersion", "kind"):
            if name in value:
                found[name] = value[name]
        metadata = value.get("metadata") or {}
        names = {k: metadata[k] for k in ("name", "generateName") if k in metadata}
        found["metadata"] = Struct(names)
    return found
