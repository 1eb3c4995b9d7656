"""What a printer is: columns, and a function from an object to its cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Cells = list[Any]
Row = Callable[[dict[str, Any], float], Cells]

NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Column:
    """`wide` columns have priority 1: shown with `-o wide` only."""

    name: str
    type: str = "string"
    wide: bool = False
    format: str = ""
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": int(self.wide),
        }


NAME = Column("Name", format="name")
AGE = Column("Age")


@dataclass(frozen=True, slots=True)
class Printer:
    """`row(obj, now_s)` gives a cell for each column, wide ones included."""

    columns: tuple[Column, ...]
    row: Row


def labels(selector: Mapping[str, str] | None) -> str:
    """`a=1,b=2`, sorted."""
    return ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items())) or NONE


def label_selector(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector in its text form: `a=1,b in (x,y),c,!d`."""
    if not selector:
        return NONE
    parts = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    parts += [_expression(each) for each in selector.get("matchExpressions", [])]
    return ",".join(parts) or NONE


def _expression(expression: Mapping[str, Any]) -> str:
    key, values = expression["key"], ",".join(sorted(expression.get("values") or []))
    match expression["operator"]:
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "Exists":
            return str(key)
        case _:
            return f"!{key}"


def first(items: list[str], most: int = 3) -> str:
    """Up to `most` items, and how many more there are."""
    if not items:
        return NONE
    shown = ",".join(items[:most])
    return f"{shown} + {len(items) - most} more..." if len(items) > most else shown
