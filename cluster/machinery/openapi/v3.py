"""OpenAPI v3: one document a group and version, as kubectl 1.27 and later ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.machinery import schema
from cluster.machinery.openapi import custom, operations, schemas
from cluster.machinery.openapi.custom import CustomSchema
from cluster.machinery.resources import Resource


def paths_by_group_version(resources: Sequence[Resource]) -> dict[str, list[Resource]]:
    """The index's keys, `api/v1` and `apis/apps/v1`, with the resources under each."""
    groups: dict[str, list[Resource]] = {}
    for resource in resources:
        root = f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"
        groups.setdefault(root, []).append(resource)
    return groups


Names = Mapping[tuple[str, str], str]
"""Schema names of custom kinds, by (apiVersion, kind)."""


def document(
    resources: Sequence[Resource],
    release: str,
    schemas_of_custom: Sequence[CustomSchema] = (),
    describe: schemas.Describe | None = None,
) -> dict[str, Any]:
    """The document of resources that share a group and version."""
    named = custom.names(schemas_of_custom)

    def build(operation: operations.Operation) -> dict[str, Any]:
        return _operation(operation, named)

    paths, names = operations.render(resources, _path_parameters, build)
    own = custom.definitions(schemas_of_custom, _reference)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": release},
        "paths": paths,
        "components": {
            "schemas": {schemas.public_name(name): _of_type(name, describe) for name in names} | own
        },
    }


_EITHER = {schema.QUANTITY: ("string", "number"), schema.INT_OR_STRING: ("integer", "string")}
"""Types of two JSON types, which only version 3 can say."""


def _of_type(name: str, describe: schemas.Describe | None) -> dict[str, Any]:
    """References stand alone in version 3: what is said beside one goes round it."""
    document = schemas.of_type(name, _reference, describe)
    if name in _EITHER:
        del document["type"]
        return document | {"oneOf": [{"type": each} for each in _EITHER[name]]}
    for field, entry in document.get("properties", {}).items():
        if "$ref" in entry and len(entry) > 1:
            rest = {key: value for key, value in entry.items() if key != "$ref"}
            document["properties"][field] = {**rest, "allOf": [{"$ref": entry["$ref"]}]}
    return document


def _reference(name: str) -> str:
    return f"#/components/schemas/{name}"


def _path_parameters(operation: operations.Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in operation.path_parameters
    ]


def _operation(operation: operations.Operation, named: Names) -> dict[str, Any]:
    group, version, kind = operation.gvk
    built: dict[str, Any] = {
        "operationId": operation.operation_id,
        "parameters": [_query(name) for name in operation.query_parameters],
        "responses": {
            **{
                str(code): {
                    "description": text,
                    "content": {"application/json": {"schema": _schema(operation.answers, named)}},
                }
                for code, text in operation.codes
            },
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": schemas.gvk(group, version, kind),
    }
    if operation.sends:
        built["requestBody"] = {"required": True, "content": _content(operation, named)}
    elif operation.method == "delete":
        options = {"$ref": _reference(schemas.public_name(operations.DELETE_OPTIONS))}
        built["requestBody"] = {"content": {"application/json": {"schema": options}}}
    return built


def _content(operation: operations.Operation, named: Names) -> dict[str, Any]:
    if operation.method == "patch":
        media_types = operations.patch_types(operation, named)
        return {media: {"schema": {"type": "object"}} for media in media_types}
    assert operation.sends is not None
    return {media: {"schema": _schema(operation.sends, named)} for media in operations.BODY_TYPES}


def _schema(kind: tuple[str, str], named: Names) -> dict[str, Any]:
    if kind in named:
        return {"$ref": _reference(named[kind])}
    found = schema.type_for(*kind)
    return {"$ref": _reference(schemas.public_name(found))} if found else {"type": "object"}


def _query(name: str) -> dict[str, Any]:
    kind = operations.PARAMETER_TYPES.get(name, "string")
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}
