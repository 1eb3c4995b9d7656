"""OpenAPI v2 (swagger): one document for everything, for kubectl before 1.27 and old clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.machinery import schema
from cluster.machinery.openapi import operations, schemas
from cluster.machinery.resources import Resource


def document(resources: Sequence[Resource], release: str) -> dict[str, Any]:
    """The document of all the resources given."""
    paths, names = operations.render(resources, _path_parameters, _operation)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": release},
        "paths": paths,
        "definitions": {
            schemas.public_name(name): schemas.of_type(name, _reference) for name in names
        },
    }


def _reference(name: str) -> str:
    return f"#/definitions/{name}"


def _path_parameters(operation: operations.Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "type": "string"}
        for name in operation.path_parameters
    ]


def _operation(operation: operations.Operation) -> dict[str, Any]:
    parameters = [_query(name) for name in operation.query_parameters]
    if operation.sends and operation.method != "patch":
        parameters.append({"name": "body", "in": "body", "required": True,
                           "schema": _schema(*operation.sends)})  # fmt: skip
    elif operation.method == "patch":
        parameters.append({"name": "body", "in": "body", "required": True,
                           "schema": {"type": "object"}})  # fmt: skip
    return {
        "operationId": operation.operation_id,
        "consumes": list(
            operations.PATCH_TYPES if operation.method == "patch" else operations.BODY_TYPES
        ),
        "produces": ["application/json"],
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", "schema": _schema(*operation.answers)},
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": schemas.gvk(*operation.gvk),
    }


def _schema(api_version: str, kind: str) -> dict[str, Any]:
    found = schema.type_for(api_version, kind)
    return {"$ref": _reference(schemas.public_name(found))} if found else {"type": "object"}


def _query(name: str) -> dict[str, Any]:
    kind = operations.PARAMETER_TYPES.get(name, "string")
    return {"name": name, "in": "query", "type": kind}
