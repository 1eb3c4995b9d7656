"""Namespaces."""

from __future__ import annotations

from cluster.machinery.validation import metadata
from cluster.machinery.validation.field import Errors, Object


def validate_update(new: Object, old: Object, errors: Errors) -> None:
    """The label that selectors find it by stays."""
    label = (new["metadata"].get("labels") or {}).get("kubernetes.io/metadata.name")
    if label is not None and label != new["metadata"].get("name"):
        errors.invalid("metadata.labels[kubernetes.io/metadata.name]", label,
                       "must be the name of the namespace")  # fmt: skip
    metadata.immutable(new, old, "metadata.name", errors)
