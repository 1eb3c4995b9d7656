"""Schemas of custom resources as OpenAPI documents publish them.

Version 3 takes structural schemas almost as they are. Version 2 has no nullable, no junctors and
no types with two meanings, so what it cannot say it leaves open, as upstream's
`controller/openapi/builder` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machinery import schema
from cluster.machinery.openapi import schemas
from cluster.machinery.resources import Resource

Document = dict[str, Any]

LIST_META = schema.LIST_META
_RESOURCE_FIELDS = {
    "apiVersion": "APIVersion defines the versioned schema of this representation of an object.",
    "kind": "Kind is a string value representing the REST resource this object represents.",
}
_V2_KEPT = (
    "description", "type", "format", "title", "default", "maximum", "exclusiveMaximum", "minimum",
    "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "multipleOf",
    "enum", "maxProperties", "minProperties", "required", "items", "properties",
    "additionalProperties", "example",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CustomSchema:
    """A version of a definition and its `openAPIV3Schema`."""

    resource: Resource
    raw: Mapping[str, Any]


def name_of(resource: Resource, kind: str = "") -> str:
    """`com.example.stable.v1.CronTab`: the group turned round, version, kind."""
    turned = ".".join(reversed(resource.group.split(".")))
    return f"{turned}.{resource.version}.{kind or resource.kind}"


def names(custom: Sequence[CustomSchema]) -> dict[tuple[str, str], str]:
    """The schema names by (apiVersion, kind), lists included."""
    found = {}
    for each in custom:
        resource = each.resource
        for kind in (resource.kind, resource.list_kind):
            found[resource.api_version, kind] = name_of(resource, kind)
    return found


def definitions(
    custom: Sequence[CustomSchema], reference: schemas.Reference, version_2: bool = False
) -> Document:
    """By name: each kind and its list."""
    found: Document = {}
    for each in custom:
        resource = each.resource
        body = _v2(each.raw) if version_2 else dict(each.raw)
        found[name_of(resource)] = _kind(body, resource, reference)
        found[name_of(resource, resource.list_kind)] = _list(resource, reference)
    return found


def _kind(body: Document, resource: Resource, reference: schemas.Reference) -> Document:
    properties = dict(body.get("properties") or {})
    for name, text in _RESOURCE_FIELDS.items():
        properties[name] = {"type": "string", "description": text}
    properties["metadata"] = {
        "$ref": reference(schemas.public_name(schema.OBJECT_META)),
    }
    gvk = schemas.gvk(resource.group, resource.version, resource.kind)
    open_root = body.get("x-kubernetes-preserve-unknown-fields") and not body.get("properties")
    extra = {} if open_root else {"properties": properties}
    return {**body, "type": "object", **extra, "x-kubernetes-group-version-kind": [gvk]}


def _list(resource: Resource, reference: schemas.Reference) -> Document:
    gvk = schemas.gvk(resource.group, resource.version, resource.list_kind)
    return {
        "description": f"{resource.list_kind} is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **{n: {"type": "string", "description": t} for n, t in _RESOURCE_FIELDS.items()},
            "items": {
                "type": "array",
                "description": f"List of {resource.plural}.",
                "items": {"$ref": reference(name_of(resource))},
            },
            "metadata": {"$ref": reference(schemas.public_name(LIST_META))},
        },
        "x-kubernetes-group-version-kind": [gvk],
    }


def _v2(raw: Mapping[str, Any]) -> Document:
    """What version 2 can say of a schema."""
    if raw.get("x-kubernetes-preserve-unknown-fields") and not raw.get("properties"):
        kept = {
            k: raw[k] for k in ("description", "x-kubernetes-preserve-unknown-fields") if k in raw
        }
        return {**kept, "type": "object"} if raw.get("type") == "object" else kept
    found = {k: v for k, v in raw.items() if k in _V2_KEPT or k.startswith("x-kubernetes-")}
    found.pop("x-kubernetes-validations", None)
    if raw.get("nullable"):
        found.pop("type", None)
        found.pop("items", None)
        found.pop("properties", None)
    if "properties" in found:
        found["properties"] = {name: _v2(each) for name, each in raw["properties"].items()}
    if isinstance(found.get("items"), Mapping):
        found["items"] = _v2(raw["items"])
    additional = found.get("additionalProperties")
    if isinstance(additional, Mapping):
        found["additionalProperties"] = _v2(additional)
    elif additional is not None:
        found.pop("additionalProperties")
    return found
