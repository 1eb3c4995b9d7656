"""Whether the defaults that a schema gives are objects that it would accept."""

from __future__ import annotations

import copy
from typing import Any

from cluster.machinery.structural import pruning, values
from cluster.machinery.structural.schema import Structural
from cluster.machinery.validation.field import Errors, shown


def check(node: Structural, path: str, errors: Errors) -> None:
    """Append causes against defaults anywhere in the schema at `path`."""
    if not node.has_defaults:
        return
    if node.has_default:
        _default(node, f"{path}.default", errors)
    for name, child in node.properties.items():
        check(child, f"{path}.properties[{name}]", errors)
    if node.items is not None:
        check(node.items, f"{path}.items", errors)
    if node.additional is not None:
        check(node.additional, f"{path}.additionalProperties", errors)


def _default(node: Structural, path: str, errors: Errors) -> None:
    value: Any = node.raw["default"]
    if isinstance(value, dict):
        pruned = copy.deepcopy(value)
        pruning.prune(pruned, node)
        if pruned != value:
            errors.invalid(path, value, f"must not have unknown fields: {shown(value)}")
    found = Errors()
    values.validate(value, node, found)
    for cause in found:
        inner = f"{path}.{cause.field}" if cause.field else path
        errors.append(type(cause)(cause.reason, cause.message, inner.replace(".[", "[")))
