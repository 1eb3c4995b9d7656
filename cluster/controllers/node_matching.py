"""Whether a pod may be on a node, by its node name, selector, affinity and tolerations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.controllers import taints
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


def fits_affinity(spec: Object, node: Object) -> bool:
    """nodeSelector and the required terms of nodeAffinity; terms are alternatives."""
    labels = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term(term: Object, node: Object) -> bool:
    """An empty term matches no node."""
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


def untolerated(tolerations: Sequence[Object], node: Object, effects: Sequence[str]) -> bool:
    """Whether the node has a taint with one of the effects that no toleration covers."""
    present = (node.get("spec") or {}).get("taints") or ()
    return any(
        taint["effect"] in effects and not any(taints.tolerates(t, taint) for t in tolerations)
        for taint in present
    )
