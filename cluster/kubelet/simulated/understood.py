"""A Node of the fleet, with what its annotation says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.kubelet.simulated.behaviour import NodeBehaviour
from cluster.kubelet.simulated.parsing import BehaviourError, of_node

Object = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """`pods`: the behaviour of its pods where they have none of their own; `problem`: why the
    annotation says nothing, or ""."""

    object: Object
    own: NodeBehaviour = field(default_factory=NodeBehaviour)
    pods: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def understood(node: Object) -> Node:
    """An annotation that says nothing makes the node NotReady, and says why."""
    try:
        own, pods = of_node(node)
    except BehaviourError as error:
        return Node(node, problem=str(error))
    return Node(node, own, pods)
