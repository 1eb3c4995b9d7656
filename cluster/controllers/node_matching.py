"""Whether a pod may be on a node, by its node name, selector, affinity and tolerations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.controllers import taints
from cluster.machinery import node_selector

Object = dict[str, Any]


def fits_affinity(spec: Object, node: Object) -> bool:
    """nodeSelector and the required terms of nodeAffinity; terms are alternatives."""
    labels = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return node_selector.any_term(required.get("nodeSelectorTerms") or (), node)


def untolerated(tolerations: Sequence[Object], node: Object, effects: Sequence[str]) -> bool:
    """Whether the node has a taint with one of the effects that no toleration covers."""
    present = (node.get("spec") or {}).get("taints") or ()
    return any(
        taint["effect"] in effects and not any(taints.tolerates(t, taint) for t in tolerations)
        for taint in present
    )
