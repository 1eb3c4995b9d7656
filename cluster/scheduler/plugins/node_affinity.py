"""NodeAffinity: nodeSelector, required terms (filter) and preferred terms (score)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cluster.scheduler.columns import Columns, Mask
from cluster.scheduler.framework import Rejection, Scores, normalize
from cluster.scheduler.requests import PodRequest

Object = dict[str, Any]


class NodeAffinity:
    name = "NodeAffinity"
    resolvable = False

    def reject(self, columns: Columns, pod: PodRequest) -> Sequence[Rejection]:
        fits: Mask = np.ones(len(columns), np.bool_)
        for key, value in (pod.spec.get("nodeSelector") or {}).items():
            fits &= columns.label_in(key, [value])
        required = _affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution")
        if required is not None:
            fits &= _any_term(columns, required.get("nodeSelectorTerms") or ())
        return [Rejection(~fits, "node(s) didn't match Pod's node affinity/selector")]

    def score(self, columns: Columns, pod: PodRequest, feasible: Mask) -> Scores | None:
        preferred = _affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution")
        if not preferred:
            return None
        raw: Scores = np.zeros(len(columns), np.int64)
        for entry in preferred:
            raw += int(entry["weight"]) * _term(columns, entry["preference"])
        return normalize(raw, feasible)


def _affinity(pod: PodRequest) -> Object:
    return (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}


def _any_term(columns: Columns, terms: Sequence[Object]) -> Mask:
    """Terms are alternatives; none at all matches no node."""
    result: Mask = np.zeros(len(columns), np.bool_)
    for term in terms:
        result |= _term(columns, term)
    return result


def _term(columns: Columns, term: Object) -> Mask:
    """All expressions must hold; an empty term matches no node."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return np.zeros(len(columns), np.bool_)
    result: Mask = np.ones(len(columns), np.bool_)
    for expression in expressions:
        result &= _expression(columns, expression)
    for field in fields:
        result &= _field(columns, field)
    return result


def _expression(columns: Columns, expression: Object) -> Mask:
    key, operator = expression["key"], expression["operator"]
    values = expression.get("values") or []
    if operator == "In":
        return columns.label_in(key, values)
    if operator == "NotIn":
        return ~columns.label_in(key, values)
    if operator == "Exists":
        return columns.has_label(key)
    if operator == "DoesNotExist":
        return ~columns.has_label(key)
    return columns.label_in(key, _compared(columns.label_values(key), operator, values))


def _compared(present: Sequence[str], operator: str, values: Sequence[str]) -> list[str]:
    """Gt and Lt hold for labels that are integers; anything else matches nothing."""
    if operator not in ("Gt", "Lt") or len(values) != 1 or not _is_int(values[0]):
        return []
    bound = int(values[0])
    numbers = [(int(text), text) for text in present if _is_int(text)]
    return [t for n, t in numbers if (n > bound if operator == "Gt" else n < bound)]


def _is_int(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _field(columns: Columns, field: Object) -> Mask:
    """metadata.name is the only field there is."""
    chosen: Mask = np.zeros(len(columns), np.bool_)
    if field["key"] != "metadata.name":
        return chosen
    for name in field.get("values") or ():
        if name in columns.rows:
            chosen[columns.rows[name]] = True
    return ~chosen if field["operator"] == "NotIn" else chosen
