"""Pod garbage collector: force-deletes pods that no kubelet will ever finish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.client.pods import remove_now
from cluster.controllers import pods, taints
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.node_lifecycle import index_by_node
from cluster.controllers.taint_eviction import mark_disrupted
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

QUARANTINE_S = 40.0
"""How long a node must be gone before its pods go: it may be registered anew."""


class PodGarbageCollector(Controller):
    name = "pod-garbage-collector"
    account = "pod-garbage-collector"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pods = self.informers.indexed("pods", "node", index_by_node)
        self._missing_since_s: dict[str, float] = {}
        self._quarantine_s = float(context.config.get("gone_node_grace_s") or QUARANTINE_S)

    def watches(self) -> Sequence[Watch]:
        return [Watch("nodes", self._keys_of_node), Watch("pods", self._keys_of_pod)]

    def _keys_of_node(self, node: Object) -> Iterable[str]:
        return [meta.key(p) for p in self._pods.by_index("node", node["metadata"]["name"])]

    def _keys_of_pod(self, pod: Object) -> Iterable[str]:
        """One that stays on a node that is there is not looked at until either changes."""
        name = pods.node_name(pod)
        well = self.informers.of("nodes").get(name) is not None if name else True
        return () if well and not pods.is_deleting(pod) else [meta.key(pod)]

    async def reconcile(self, key: str) -> Result | None:
        pod = self._pods.get(key)
        if pod is None:
            return None
        name = pods.node_name(pod)
        if not name:
            if pods.is_deleting(pod):
                await self._delete(pod, "")
            return None
        node = self.informers.of("nodes").get(name)
        if node is None:
            return await self._on_missing_node(pod, name)
        self._missing_since_s.pop(name, None)
        if pods.is_deleting(pod) and _out_of_service(node):
            await self._delete(pod, "PodGC: node is out of service")
        return None

    async def _on_missing_node(self, pod: Object, name: str) -> Result | None:
        since_s = self._missing_since_s.setdefault(name, self.clock.now())
        wait_s = since_s + self._quarantine_s - self.clock.now()
        if wait_s > 0:
            return Result(wait_s)
        try:
            await self.client.get("nodes", name)
        except ApiError as error:
            if error.code != 404:
                raise
            await self._delete(pod, "PodGC: node no longer exists")
        return None

    async def _delete(self, pod: Object, why: str) -> None:
        """With grace 0: nobody is left who could end it gracefully."""
        try:
            if why and not pods.is_terminated(pod):
                await mark_disrupted(self.context, pod, "DeletionByPodGC", why)
            await remove_now(self.client, pod)
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _out_of_service(node: Object) -> bool:
    present = (node.get("spec") or {}).get("taints") or ()
    marked = any(taint["key"] == taints.OUT_OF_SERVICE for taint in present)
    return marked and not meta.condition_is(node, "Ready")
