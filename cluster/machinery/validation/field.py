"""Collecting causes, with the reasons and wording of upstream's field.Error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from cluster.machinery.status import Cause

Object = dict[str, Any]

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"


def shown(value: Any) -> str:
    """A value as it stands in a message: text in quotes, the rest as JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


class Errors(list[Cause]):
    """The causes found so far."""

    def _add(self, reason: str, message: str, path: str, detail: str = "") -> None:
        self.append(Cause(reason, f"{message}: {detail}" if detail else message, path))

    def required(self, path: str, detail: str = "") -> None:
        """The field must be set."""
        self._add("FieldValueRequired", "Required value", path, detail)

    def invalid(self, path: str, value: Any, detail: str) -> None:
        """The value breaks a rule."""
        self._add("FieldValueInvalid", f"Invalid value: {shown(value)}", path, detail)

    def append_invalid(self, path: str, shown_value: str, detail: str) -> None:
        """As `invalid`, of a value that is not shown as JSON."""
        self._add("FieldValueInvalid", f"Invalid value: {shown_value}", path, detail)

    def type_invalid(self, path: str, value: Any, detail: str) -> None:
        """The value has another JSON type than its schema says."""
        self._add("FieldValueTypeInvalid", f"Invalid value: {shown(value)}", path, detail)

    def not_supported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        """The value is none of an enumeration."""
        listed = ", ".join(f'"{item}"' for item in supported)
        message = f"Unsupported value: {shown(value)}"
        self._add("FieldValueNotSupported", message, path, f"supported values: {listed}")

    def duplicate(self, path: str, value: Any) -> None:
        """The value stands elsewhere already."""
        self._add("FieldValueDuplicate", f"Duplicate value: {shown(value)}", path)

    def forbidden(self, path: str, detail: str) -> None:
        """The field may not be set, or not be changed."""
        self._add("FieldValueForbidden", "Forbidden", path, detail)

    def not_found(self, path: str, value: Any) -> None:
        """What the value names is not there."""
        self._add("FieldValueNotFound", f"Not found: {shown(value)}", path)

    def too_long(self, path: str, most_bytes: int) -> None:
        """Too many bytes."""
        self._add("FieldValueTooLong", "Too long", path, f"may not be more than {most_bytes} bytes")

    def too_many(self, path: str, count: int, most: int) -> None:
        """Too many items."""
        detail = f"must have at most {most} items"
        self._add("FieldValueTooMany", f"Too many: {count}", path, detail)

    def all_invalid(self, path: str, value: Any, details: Iterable[str]) -> None:
        """One cause for each detail."""
        for detail in details:
            self.invalid(path, value, detail)

    def one_of(self, path: str, value: Any, supported: Iterable[str]) -> None:
        """Unless the value is one of an enumeration; an empty one is required."""
        if not value:
            self.required(path)
        elif value not in (values := tuple(supported)):
            self.not_supported(path, value, values)

    def not_negative(self, path: str, value: Any) -> None:
        """Numbers that may be absent, but not below zero."""
        if value is not None and value < 0:
            self.invalid(path, value, NOT_NEGATIVE)
