"""How each API type stands in protobuf: field numbers to JSON names, from the schema tables.

Structs that Go embeds are messages of their own on the wire and part of their parent in JSON
(a Volume's volumeSource): their slots are `inline`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from cluster.machinery import schema

VERBS = "k8s.io.apimachinery.pkg.apis.meta.v1.Verbs"
"""A message that is a list in JSON."""
SPECIAL = frozenset(
    {
        schema.TIME,
        schema.MICRO_TIME,
        schema.QUANTITY,
        schema.INT_OR_STRING,
        schema.RAW_EXTENSION,
        schema.FIELDS_V1,
        "k8s.io.apimachinery.pkg.apis.meta.v1.Duration",
        VERBS,
        "k8s.io.api.authentication.v1.ExtraValue",
        "k8s.io.api.authorization.v1.ExtraValue",
        "k8s.io.api.certificates.v1.ExtraValue",
    }
    | {
        f"k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.{name}"
        for name in (
            "JSON",
            "JSONSchemaPropsOrArray",
            "JSONSchemaPropsOrBool",
            "JSONSchemaPropsOrStringArray",
        )
    }
)
"""Messages whose JSON form is not an object of their fields."""

SCALARS = frozenset({"string", "bytes", "bool", "int32", "int64", "double"})


@dataclass(frozen=True, slots=True)
class Slot:
    """One field of a message: where it goes in JSON and what it is on the wire.

    `keep_zero`: whether "", 0 and false mean something. Go writes the zero of every plain
    field, so there it means absent; of a pointer it means that somebody set it.
    """

    name: str
    number: int
    wire: str
    label: str
    inline: bool = False
    keep_zero: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A message's slots by field number; inline ones come last when encoding."""

    slots: dict[int, Slot]


def _label(field: schema.Field) -> str:
    if field.wire.startswith("map<"):
        return "map"
    return "repeated" if field.is_list and field.wire != VERBS else "optional"


def _keeps_zero(definition: schema.Definition, name: str, wire: str) -> bool:
    pointer = name in schema.pointers(definition.name)
    return pointer or (name in definition.required and wire not in ("string", "bytes"))


def _json_name(name: str, definition: schema.Definition) -> str | None:
    """JSONSchemaProps writes `ref` as `$ref` and `xKubernetesListType` as a dashed name."""
    dashed = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
    return next((n for n in (name, f"${name}", dashed) if n in definition.fields), None)


@cache
def plan(type_name: str) -> Plan:
    """Of a type with a schema; KeyError when the tables do not know it."""
    definition = schema.definition(type_name)
    slots = {
        field.number: Slot(
            name,
            field.number,
            field.wire,
            _label(field),
            keep_zero=_keeps_zero(definition, name, field.wire),
        )
        for name, field in definition.fields.items()
        if field.number
    }
    for name, extra in definition.wire_only.items():
        slot = _wire_only_slot(name, extra, definition)
        if slot:
            slots[slot.number] = slot
    return Plan(slots)


def _wire_only_slot(
    name: str, extra: schema.WireField, definition: schema.Definition
) -> Slot | None:
    """None for fields that are younger than the schema: they are skipped, as upstream does."""
    json_name = _json_name(name, definition)
    if json_name is not None:
        return Slot(json_name, extra.number, extra.wire, extra.label)
    if extra.label == "optional" and _is_inlined(extra.wire, definition):
        return Slot(name, extra.number, extra.wire, "optional", inline=True)
    return None


def _is_inlined(wire: str, definition: schema.Definition) -> bool:
    """Whether the message's fields stand in the parent's JSON, without numbers of their own."""
    names = _all_names(wire)
    here = {name for name, field in definition.fields.items() if not field.number}
    return bool(names) and bool(names & here)


def _all_names(wire: str) -> set[str]:
    found = schema.find(wire)
    message = schema.message(wire)
    return set(found.fields) if found else set(message) if message else set()


@cache
def inline_plan(parent: str, wire: str) -> Plan:
    """Of an embedded message, whose JSON names and types are the parent's."""
    if schema.find(wire) is not None:
        return plan(wire)
    definition = schema.definition(parent)
    message = schema.message(wire) or {}
    slots = {}
    for name, extra in message.items():
        if name in definition.fields:
            keep = _keeps_zero(definition, name, extra.wire)
            slots[extra.number] = Slot(name, extra.number, extra.wire, extra.label, keep_zero=keep)
    return Plan(slots)
