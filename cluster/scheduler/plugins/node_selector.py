"""Node selector terms over columns: what node affinity, volumes and devices say of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.scheduler.columns import Mask, View

Object = dict[str, Any]


def any_term(view: View, terms: Iterable[Object]) -> Mask:
    """Terms are alternatives; none at all matches no node."""
    result = view.none()
    for term in terms:
        result |= term_holds(view, term)
    return result


def term_holds(view: View, term: Object) -> Mask:
    """All expressions must hold; an empty term matches no node."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return view.none()
    result = view.all()
    for expression in expressions:
        result &= expression_holds(view, expression)
    for field in fields:
        result &= _field_holds(view, field)
    return result


def has_labels(view: View, labels: dict[str, str] | None) -> Mask:
    result = view.all()
    for key, value in (labels or {}).items():
        result &= view.label_in(key, [value])
    return result


def expression_holds(view: View, expression: Object) -> Mask:
    key, operator = expression["key"], expression["operator"]
    values = expression.get("values") or []
    if operator == "In":
        return view.label_in(key, values)
    if operator == "NotIn":
        return ~view.label_in(key, values)
    if operator == "Exists":
        return view.has_label(key)
    if operator == "DoesNotExist":
        return ~view.has_label(key)
    present = view.columns.labels.values(key)[1:]
    return view.label_in(key, _compared(present, operator, values))


def _compared(present: Sequence[str], operator: str, values: Sequence[str]) -> list[str]:
    """Gt and Lt hold for labels that are integers; anything else matches nothing."""
    if operator not in ("Gt", "Lt") or len(values) != 1 or not _is_int(values[0]):
        return []
    bound = int(values[0])
    numbers = [(int(text), text) for text in present if _is_int(text)]
    return [t for n, t in numbers if (n > bound if operator == "Gt" else n < bound)]


def _is_int(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _field_holds(view: View, field: Object) -> Mask:
    """metadata.name is the only field there is."""
    if field["key"] != "metadata.name":
        return view.none()
    chosen = view.named(field.get("values") or ())
    return ~chosen if field["operator"] == "NotIn" else chosen
