"""Label selectors of objects (metav1.LabelSelector)."""

from __future__ import annotations

from cluster.machinery.validation import formats, metadata
from cluster.machinery.validation.field import Errors, Object


def validate(selector: Object, path: str, errors: Errors) -> None:
    """Keys, values and operators."""
    if selector.get("matchLabels"):
        metadata.labels(selector["matchLabels"], f"{path}.matchLabels", errors)
    for at, entry in enumerate(selector.get("matchExpressions") or ()):
        _expression(entry, f"{path}.matchExpressions[{at}]", errors)


def _expression(entry: Object, path: str, errors: Errors) -> None:
    operator, values = entry.get("operator"), entry.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            errors.required(
                f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.forbidden(
                f"{path}.values",
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )
    else:
        errors.invalid(f"{path}.operator", operator, "not a valid selector operator")
    key = entry.get("key") or ""
    errors.all_invalid(f"{path}.key", key, formats.qualified_name(key))
    for at, value in enumerate(values):
        errors.all_invalid(f"{path}.values[{at}]", value, formats.label_value(value))
