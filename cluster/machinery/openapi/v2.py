"""OpenAPI v2 (swagger): one document for everything, for kubectl before 1.27 and old clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.machinery import schema
from cluster.machinery.openapi import custom, operations, schemas
from cluster.machinery.openapi.custom import CustomSchema
from cluster.machinery.resources import Resource

Names = Mapping[tuple[str, str], str]
"""Schema names of custom kinds, by (apiVersion, kind)."""


def document(
    resources: Sequence[Resource],
    release: str,
    schemas_of_custom: Sequence[CustomSchema] = (),
    describe: schemas.Describe | None = None,
) -> dict[str, Any]:
    """The document of all the resources given."""
    named = custom.names(schemas_of_custom)

    def build(operation: operations.Operation) -> dict[str, Any]:
        return _operation(operation, named)

    paths, names = operations.render(resources, _path_parameters, build)
    own = custom.definitions(schemas_of_custom, _reference, version_2=True)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": release},
        "paths": paths,
        "definitions": {
            schemas.public_name(name): schemas.of_type(name, _reference, describe) for name in names
        }
        | own,
    }


def _reference(name: str) -> str:
    return f"#/definitions/{name}"


def _path_parameters(operation: operations.Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "type": "string"}
        for name in operation.path_parameters
    ]


def _operation(operation: operations.Operation, named: Names) -> dict[str, Any]:
    parameters = [_query(name) for name in operation.query_parameters]
    if operation.sends and operation.method != "patch":
        parameters.append({"name": "body", "in": "body", "required": True,
                           "schema": _schema(operation.sends, named)})  # fmt: skip
    elif operation.method == "patch":
        parameters.append({"name": "body", "in": "body", "required": True,
                           "schema": {"type": "object"}})  # fmt: skip
    return {
        "operationId": operation.operation_id,
        "consumes": list(
            operations.patch_types(operation, named)
            if operation.method == "patch"
            else operations.BODY_TYPES
        ),
        "produces": ["application/json"],
        "parameters": parameters,
        "responses": {
            **{
                str(code): {"description": text, "schema": _schema(operation.answers, named)}
                for code, text in operation.codes
            },
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": schemas.gvk(*operation.gvk),
    }


def _schema(kind: tuple[str, str], named: Names) -> dict[str, Any]:
    if kind in named:
        return {"$ref": _reference(named[kind])}
    found = schema.type_for(*kind)
    return {"$ref": _reference(schemas.public_name(found))} if found else {"type": "object"}


def _query(name: str) -> dict[str, Any]:
    kind = operations.PARAMETER_TYPES.get(name, "string")
    return {"name": name, "in": "query", "type": kind}
