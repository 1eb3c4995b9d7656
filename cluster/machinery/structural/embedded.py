"""Embedded resources are resources: they have an apiVersion, a kind and valid metadata."""

from __future__ import annotations

from typing import Any

from cluster.machinery.structural.schema import Structural, join
from cluster.machinery.validation import metadata
from cluster.machinery.validation.field import Errors


def validate_embedded(value: Any, node: Structural, errors: Errors, path: str = "") -> None:
    """Append causes against every embedded resource in an object."""
    if isinstance(value, list):
        for at, item in enumerate(value if node.items is not None else ()):
            validate_embedded(item, node.items, errors, f"{path}[{at}]")  # type: ignore[arg-type]
        return
    if not isinstance(value, dict):
        return
    if node.embedded:
        _resource(value, path, errors)
    for name, item in value.items():
        child = node.properties.get(name) or node.additional
        if child is not None and not (node.is_resource and name == "metadata"):
            validate_embedded(item, child, errors, join(path, name))


def _resource(value: dict[str, Any], path: str, errors: Errors) -> None:
    for name in ("apiVersion", "kind"):
        found = value.get(name)
        if not found:
            errors.required(join(path, name), "must not be empty")
        elif not isinstance(found, str):
            errors.type_invalid(join(path, name), found, "must be string")
    about = value.get("metadata")
    if about is None:
        return
    if not isinstance(about, dict):
        errors.type_invalid(join(path, "metadata"), about, "must be object")
        return
    below = Errors()
    metadata.validate({"metadata": {"name": "unnamed", **about}}, below)
    for cause in below:
        errors.append(type(cause)(cause.reason, cause.message, join(path, cause.field)))
