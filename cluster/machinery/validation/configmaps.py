"""Config maps."""

from __future__ import annotations

from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object

MAX_BYTES = 1024 * 1024
WHEN_IMMUTABLE = "field is immutable when `immutable` is set"


def validate(obj: Object, errors: Errors) -> None:
    """Keys, that none stands twice, and the size of everything."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        errors.all_invalid(f"data[{key}]", key, formats.config_key(key))
        if key in binary:
            errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += len((value or "").encode())
    for key, value in binary.items():
        errors.all_invalid(f"binaryData[{key}]", key, formats.config_key(key))
        size += len(value or "") * 3 // 4
    if size > MAX_BYTES:
        errors.too_long("", MAX_BYTES)


def validate_update(new: Object, old: Object, errors: Errors) -> None:
    """An immutable one stays so, with its data."""
    frozen(new, old, ("data", "binaryData"), errors)


def frozen(new: Object, old: Object, fields: tuple[str, ...], errors: Errors) -> None:
    """For config maps and secrets."""
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        errors.forbidden("immutable", WHEN_IMMUTABLE)
    for name in fields:
        if (new.get(name) or {}) != (old.get(name) or {}):
            errors.forbidden(name, WHEN_IMMUTABLE)
