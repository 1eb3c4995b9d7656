"""Amounts of resources: requests and limits."""

from __future__ import annotations

from cluster.machinery import quantity
from cluster.machinery.validation import formats
from cluster.machinery.validation.field import NOT_NEGATIVE, Errors, Object

_STANDARD = {"cpu", "memory", "ephemeral-storage", "storage"}


def container(found: Object, path: str, errors: Errors) -> None:
    """Of a container: requests may not exceed limits."""
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    for name, amount in limits.items():
        _amount(name, amount, f"{path}.limits[{name}]", errors)
    for name, amount in requests.items():
        _amount(name, amount, f"{path}.requests[{name}]", errors)
        limit = limits.get(name)
        if limit is not None:
            _compare(name, amount, limit, f"{path}.requests", errors)
        elif _is_extended(name) and "/" in name:
            errors.required(f"{path}.limits", "Limit must be set for non overcommitable resources")


def _is_extended(name: str) -> bool:
    return name not in _STANDARD and not name.startswith("hugepages-")


def _amount(name: str, amount: str, path: str, errors: Errors) -> None:
    errors.all_invalid(path, name, formats.qualified_name(name))
    if "/" not in name and _is_extended(name):
        errors.invalid(path, name, "must be a standard resource type or fully qualified")
        errors.invalid(path, name, "must be a standard resource for containers")
    nano = quantity.parse(amount)
    if nano < 0:
        errors.invalid(path, quantity.canonical(amount), NOT_NEGATIVE)
    if _is_extended(name) and nano % quantity.NANO:
        errors.invalid(path, quantity.canonical(amount), "must be an integer")


def _compare(name: str, request: str, limit: str, path: str, errors: Errors) -> None:
    asked, most = quantity.parse(request), quantity.parse(limit)
    if _is_extended(name) and asked != most:
        detail = f"must be equal to {name} limit of {quantity.canonical(limit)}"
        errors.invalid(path, quantity.canonical(request), detail)
    elif asked > most:
        detail = f"must be less than or equal to {name} limit of {quantity.canonical(limit)}"
        errors.invalid(path, quantity.canonical(request), detail)
