"""Nodes."""

from __future__ import annotations

from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def validate(node: Object, errors: Errors) -> None:
    """Taints: keys, values, effects, and none twice."""
    seen: set[tuple[str, str]] = set()
    for at, taint in enumerate((node.get("spec") or {}).get("taints") or ()):
        path = f"spec.taints[{at}]"
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        errors.all_invalid(f"{path}.key", key, formats.qualified_name(key))
        value = taint.get("value") or ""
        errors.all_invalid(f"{path}.value", value, formats.label_value(value))
        if not effect:
            errors.required(f"{path}.effect")
        elif effect not in _EFFECTS:
            errors.not_supported(f"{path}.effect", effect, _EFFECTS)
        if (key, effect) in seen:
            errors.duplicate(path, taint)
        seen.add((key, effect))


def validate_update(new: Object, old: Object, errors: Errors) -> None:
    """Addresses for pods and the provider's id may be set once."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    for name, word in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
        if before.get(name) and after.get(name) != before[name]:
            detail = f'node updates may not change {word} except from "" to valid'
            errors.forbidden(f"spec.{name}", detail)
