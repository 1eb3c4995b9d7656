"""Taint eviction: deletes pods that do not tolerate a NoExecute taint of their node any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers import pods, taints
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.node_lifecycle import index_by_node
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]


class TaintEvictionController(Controller):
    """`config["eviction_toleration_s"]`, if set, caps how long a dead node is tolerated."""

    name = "taint-eviction"
    account = "node-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        limit = context.config.get("eviction_toleration_s")
        self._limit_s = None if limit is None else float(limit)
        self._pods = self.informers.indexed("pods", "node", index_by_node)
        self._first_seen_s: dict[str, float] = {}
        """By pod: since when a taint is known that does not say itself when it came."""

    def watches(self) -> Sequence[Watch]:
        return [Watch("nodes", self._keys_of_node), Watch("pods", self._keys_of_pod)]

    def _keys_of_node(self, node: Object) -> Iterable[str]:
        return [meta.key(p) for p in self._pods.by_index("node", node["metadata"]["name"])]

    def _keys_of_pod(self, pod: Object) -> Iterable[str]:
        """Of pods on nodes with taints; when a node gets its first, all its pods are looked at."""
        node = self.informers.of("nodes").get(pods.node_name(pod)) or {}
        return [meta.key(pod)] if (node.get("spec") or {}).get("taints") else ()

    async def reconcile(self, key: str) -> Result | None:
        pod = self._pods.get(key)
        due_s = None if pod is None else self._due_s(key, pod)
        if pod is None or due_s is None:
            self._first_seen_s.pop(key, None)
            return None
        now_s = self.clock.wall()
        if due_s > now_s:
            return Result(due_s - now_s)
        if await self._is_due(pod, self._first_seen_s[key]):
            await self._evict(pod)
        return None

    def _due_s(self, key: str, pod: Object) -> float | None:
        if pods.is_deleting(pod) or pods.is_terminated(pod):
            return None
        node = self.informers.of("nodes").get(pods.node_name(pod)) or {}
        present = (node.get("spec") or {}).get("taints") or []
        seen_s = self._first_seen_s.setdefault(key, self.clock.wall())
        return taints.evict_at_s(pod, present, seen_s, self._limit_s)

    async def _is_due(self, pod: Object, seen_s: float) -> bool:
        """Asked again: the cache may not have seen yet that the node is well (or gone)."""
        node = await self.informers.ask("nodes", pods.node_name(pod)) or {}
        present = (node.get("spec") or {}).get("taints") or []
        due_s = taints.evict_at_s(pod, present, seen_s, self._limit_s)
        return due_s is not None and due_s <= self.clock.wall()

    async def _evict(self, pod: Object) -> None:
        metadata = pod["metadata"]
        self.events.event(
            pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {meta.key(pod)}"
        )
        try:
            await mark_disrupted(
                self.context,
                pod,
                "DeletionByTaintManager",
                "Taint manager: deleting due to NoExecute taint",
            )
            await self.client.delete(
                "pods", metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise


async def mark_disrupted(context: Context, pod: Object, reason: str, message: str) -> None:
    """Say in the pod's status why it is about to be deleted."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": meta.format_time(context.seams.clock.wall()),
    }
    metadata = pod["metadata"]
    await context.client.patch(
        "pods",
        metadata["name"],
        {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}},
        metadata["namespace"],
        kind="strategic",
        subresource="status",
    )
