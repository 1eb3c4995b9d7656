"""Node selector terms: which nodes an affinity of a pod or of a volume means. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.machinery.selectors import LabelSelector, Requirement

Object = dict[str, Any]

_OPERATORS = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
    "Gt": "gt",
    "Lt": "lt",
}


def any_term(terms: Sequence[Object], node: Object) -> bool:
    """Terms are alternatives; an empty one matches no node."""
    return any(_term(term, node) for term in terms)


def _term(term: Object, node: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    name = {"metadata.name": node["metadata"]["name"]}
    labels = node["metadata"].get("labels") or {}
    return _selector(expressions).matches(labels) and _selector(fields).matches(name)


def _selector(expressions: Sequence[Object]) -> LabelSelector:
    return LabelSelector(
        tuple(
            Requirement(e["key"], _OPERATORS[e["operator"]], tuple(e.get("values") or ()))
            for e in expressions
        )
    )
