"""Formats of names and values (Kubernetes's format library)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.machinery.cel.functions import Overload, declare
from cluster.machinery.cel.values import NONE, OptionalValue
from cluster.machinery.structural import formats as openapi
from cluster.machinery.validation import formats

Check = Callable[[str], list[str]]


@dataclass(frozen=True)
class Format:
    name: str
    check: Check
    type_name = "kubernetes.NamedFormat"


def _prefix(check: Check) -> Check:
    """A name may end in a dash where a generated suffix follows."""

    def masked(text: str) -> list[str]:
        return check(text[:-1] + "a" if text.endswith("-") else text)

    return masked


def _openapi(name: str, wrong: str) -> Check:
    return lambda text: [] if openapi.holds(name, text) else [wrong]


_CHECKS: dict[str, Check] = {
    "dns1123Label": formats.label,
    "dns1123Subdomain": formats.subdomain,
    "dns1035Label": formats.label_1035,
    "qualifiedName": formats.qualified_name,
    "dns1123LabelPrefix": _prefix(formats.label),
    "dns1123SubdomainPrefix": _prefix(formats.subdomain),
    "dns1035LabelPrefix": _prefix(formats.label_1035),
    "labelValue": formats.label_value,
    "uri": _openapi("uri", "invalid URI"),
    "uuid": _openapi("uuid", "does not match the UUID format"),
    "byte": _openapi("byte", "invalid base64"),
    "date": _openapi("date", "invalid date"),
    "datetime": _openapi("datetime", "invalid datetime"),
}
_FORMATS = {name: Format(name, check) for name, check in _CHECKS.items()}


def _named(name: str) -> OptionalValue:
    found = _FORMATS.get(name)
    return NONE if found is None else OptionalValue(found, True)


def _validate(which: Format, text: str) -> OptionalValue:
    wrong = which.check(text)
    return OptionalValue(wrong, True) if wrong else NONE


def _constant(which: Format) -> Callable[[], Format]:
    return lambda: which


def _cost(sizes: Any) -> float:
    return float((sizes[1] + 1) * 0.1 * 16)


_F = "kubernetes.NamedFormat"

OVERLOADS: list[Overload] = [
    *(declare(f"format.{name}(): {_F}", _constant(f)) for name, f in _FORMATS.items()),
    declare(f"format.named(string): optional({_F})", _named),
    declare(f"{_F}->validate(string): optional(list(string))", _validate, _cost),
]
