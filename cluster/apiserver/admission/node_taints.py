"""TaintNodesByCondition: nothing is scheduled to a new node before it has said that it is ready.

The taint is taken away by the node lifecycle controller.
"""

from __future__ import annotations

from cluster.apiserver.admission.chain import Review

TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


async def not_ready(review: Review) -> None:
    """An admission plugin."""
    node = review.creates("nodes")
    if node is None:
        return
    spec = node.setdefault("spec", {})
    taints = spec.get("taints") or []
    if (TAINT["key"], TAINT["effect"]) not in [(t.get("key"), t.get("effect")) for t in taints]:
        spec["taints"] = [*taints, dict(TAINT)]
