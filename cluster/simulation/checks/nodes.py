"""Nodes: only a silent one is given up, and only pods of nodes that were given up are evicted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import meta
from cluster.simulation.checks.history import Change, History

Object = dict[str, Any]
EXCUSED_S = 5.0


class Nodes:
    """`grace_s`: how long a node must have been silent."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._renewed_s: dict[str, float] = {}
        self._tainted_s: dict[str, float] = {}
        """By node: when it last had a taint that evicts."""

    def check(self, change: Change, history: History) -> Iterator[str]:
        if change.key.startswith("coordination.k8s.io/leases/kube-node-lease/"):
            self._renewed_s[change.obj["metadata"]["name"]] = change.now_s
        elif change.kind == "Node" and change.new is not None:
            yield from self._node(change, change.new)
        elif change.kind == "Pod" and change.old is not None and change.new is not None:
            yield from self._pod(change, change.old, change.new, history)

    def _node(self, change: Change, new: Object) -> Iterator[str]:
        name = new["metadata"]["name"]
        if _evicts(change.old or {}) or _evicts(new):
            self._tainted_s[name] = change.now_s
        unknown = meta.condition_is(new, "Ready", "Unknown")
        fresh = not meta.condition_is(change.old or {}, "Ready", "Unknown")
        silent_s = change.now_s - self._renewed_s.get(name, 0.0)
        if unknown and fresh and silent_s < self._grace_s - 1.0:
            yield f"{name} is given up {silent_s:.1f} s after its last sign of life"

    def _pod(self, change: Change, old: Object, new: Object, history: History) -> Iterator[str]:
        marked = meta.condition(new, "DisruptionTarget") or {}
        if meta.condition(old, "DisruptionTarget") or marked.get("reason") != (
            "DeletionByTaintManager"
        ):
            return
        node = new["spec"].get("nodeName", "")
        if _evicts(history.objects.get(f"nodes/{node}") or {}):
            return
        if change.now_s - self._tainted_s.get(node, -1e9) > EXCUSED_S:
            yield f"{change.key} is evicted from {node}, which is in no trouble"


def _evicts(node: Object) -> bool:
    return any(t["effect"] == "NoExecute" for t in (node.get("spec") or {}).get("taints") or ())
