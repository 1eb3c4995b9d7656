"""The two ways in which a field is absent."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def default(obj: Object, name: str, value: Any) -> None:
    """For pointers and strings: null and "" are absent, 0 and false are not."""
    if obj.get(name) in (None, "") and obj.get(name) is not False:
        obj[name] = value


def default_zero(obj: Object, name: str, value: Any) -> None:
    """For Go's plain numbers: 0 is absent, too."""
    if not obj.get(name):
        obj[name] = value


def part(obj: Object, name: str) -> Object:
    """The map below `name`, made if need be."""
    found = obj.get(name)
    if found is None:
        found = obj[name] = {}
    below: Object = found
    return below


def items(obj: Object, name: str) -> list[Object]:
    """The list below `name`, or nothing."""
    return obj.get(name) or []
