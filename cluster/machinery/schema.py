"""Types of the API as tables: which fields an object has, and how they merge and travel.

A type name is the protobuf name, "k8s.io.api.core.v1.Pod". Definitions are made from the
generated table on first use, one at a time, and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cluster.machinery import tables

OBJECT_META = "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta"
LIST_META = "k8s.io.apimachinery.pkg.apis.meta.v1.ListMeta"
QUANTITY = "k8s.io.apimachinery.pkg.api.resource.Quantity"
TIME = "k8s.io.apimachinery.pkg.apis.meta.v1.Time"
MICRO_TIME = "k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime"
INT_OR_STRING = "k8s.io.apimachinery.pkg.util.intstr.IntOrString"
RAW_EXTENSION = "k8s.io.apimachinery.pkg.runtime.RawExtension"
FIELDS_V1 = "k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1"
POD_SPEC = "k8s.io.api.core.v1.PodSpec"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a type.

    `type` is a scalar ("string", "integer:int32", "integer:int64", "boolean", "string:byte",
    "number:double"), a type name, or one of those behind "[]" (list) or "{}" (map of strings
    to it). `number` is 0 and `wire` "" where the field is not in the protobuf message itself.
    """

    type: str
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""
    patch_strategy: str = ""
    patch_merge_key: str = ""
    number: int = 0
    wire: str = ""

    @property
    def is_list(self) -> bool:
        """Whether the value is a JSON array."""
        return self.type.startswith("[]")

    @property
    def is_map(self) -> bool:
        """Whether the value is a map of strings to `element`."""
        return self.type.startswith("{}")

    @property
    def element(self) -> str:
        """The type of a list's or map's elements; the type itself otherwise."""
        return self.type[2:] if self.type[:2] in ("[]", "{}") else self.type


@dataclass(frozen=True, slots=True)
class WireField:
    """A field that exists in protobuf only; `label` is optional, repeated or map."""

    wire: str
    number: int
    label: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A type: its fields, or `scalar` for types that are one JSON value ("any": whatever)."""

    name: str
    fields: Mapping[str, Field]
    required: tuple[str, ...]
    map_type: str
    scalar: str
    wire_only: Mapping[str, WireField]
    gvks: tuple[tuple[str, str, str], ...]
    unions: tuple[Mapping[str, Any], ...]


_WIRE = {
    "integer:int32": "int32",
    "integer:int64": "int64",
    "boolean": "bool",
    "string:byte": "bytes",
    "number:double": "double",
}


@cache
def _rows() -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = tables.load("definitions.json")
    return rows


@cache
def _messages() -> dict[str, dict[str, list[Any]]]:
    rows: dict[str, dict[str, list[Any]]] = tables.load("messages.json")
    return rows


@cache
def _pointers() -> dict[str, frozenset[str]]:
    rows: dict[str, list[str]] = tables.load("pointers.json")
    return {name: frozenset(fields) for name, fields in rows.items()}


def pointers(type_name: str) -> frozenset[str]:
    """The scalar fields of a type whose zero is a value that somebody set."""
    return _pointers().get(type_name, frozenset())


def usual_wire(type_: str) -> str:
    """The protobuf type of a field of this type, where the table says nothing else."""
    if type_.startswith("[]"):
        return usual_wire(type_[2:])
    if type_.startswith("{}"):
        return f"map<string, {usual_wire(type_[2:])}>"
    return _WIRE.get(type_, type_)


def _field(row: list[Any]) -> Field:
    type_ = row[0]
    number = row[1] if len(row) > 1 else 0
    extras = dict(row[2]) if len(row) > 2 else {}
    keys = tuple(extras.pop("list_map_keys", ()))
    wire = extras.pop("wire", usual_wire(type_) if number else "")
    return Field(type_, number=number, wire=wire, list_map_keys=keys, **extras)


def find(type_name: str) -> Definition | None:
    """The definition of a type, or None for a scalar or a name that is not in the API."""
    return definition(type_name) if type_name in _rows() else None


@cache
def definition(type_name: str) -> Definition:
    """The definition of a type; KeyError when the API has no such type."""
    row = _rows()[type_name]
    return Definition(
        name=type_name,
        fields={name: _field(field) for name, field in row.get("fields", {}).items()},
        required=tuple(row.get("required", ())),
        map_type=row.get("map_type", ""),
        scalar=row.get("scalar", ""),
        wire_only={n: WireField(*f) for n, f in row.get("wire_only", {}).items()},
        gvks=tuple((g, v, k) for g, v, k in row.get("gvk", ())),
        unions=tuple(row.get("unions", ())),
    )


@cache
def message(type_name: str) -> Mapping[str, WireField] | None:
    """The fields of a protobuf message that has no schema of its own."""
    row = _messages().get(type_name)
    return None if row is None else {n: WireField(*f) for n, f in row.items()}


@cache
def _by_kind() -> dict[tuple[str, str], str]:
    kinds: dict[tuple[str, str], str] = {}
    for name, row in _rows().items():
        for group, version, kind in row.get("gvk", ()):
            kinds.setdefault((f"{group}/{version}" if group else version, kind), name)
    return kinds


def type_for(api_version: str, kind: str) -> str | None:
    """The type name of an object with this apiVersion and kind."""
    return _by_kind().get((api_version, kind))


def all_types() -> tuple[str, ...]:
    """Every type name of the tables."""
    return tuple(_rows())
