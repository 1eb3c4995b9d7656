"""Node lifecycle: nodes that stop renewing their Lease become Unknown, and are tainted."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.controllers import pods, taints
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

LEASES = "leases.coordination.k8s.io"
LEASE_NAMESPACE = "kube-node-lease"
DEFAULT_GRACE_S = 40.0
KUBELET_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass
class _Sign:
    """The last sign of life, and when it was first seen by our own clock."""

    value: tuple[str, str]
    seen_s: float


class NodeLifecycleController(Controller):
    """`config["node_grace_s"]` is upstream's node-monitor-grace-period."""

    name = "node-lifecycle"
    account = "node-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._grace_s = float(context.config.get("node_grace_s") or DEFAULT_GRACE_S)
        self._signs: dict[str, _Sign] = {}
        self._pods = self.informers.indexed("pods", "node", index_by_node)

    def watches(self) -> Sequence[Watch]:
        return [Watch("nodes"), Watch(LEASES, _node_of_lease), Watch("pods", self._silent_node)]

    def _silent_node(self, pod: Object) -> Iterable[str]:
        """That of a pod, if what comes to it has to be marked."""
        for name in index_by_node(pod):
            node = self.informers.of("nodes").get(name)
            if node is not None and meta.condition_is(node, "Ready", "Unknown"):
                yield name

    async def reconcile(self, key: str) -> Result | None:
        node = self.informers.of("nodes").get(key)
        if node is None:
            self._signs.pop(key, None)
            return None
        lease = self.informers.of(LEASES).get(f"{LEASE_NAMESPACE}/{key}")
        silent_s = self._silent_s(node, lease)
        if silent_s > self._grace_s and not meta.condition_is(node, "Ready", "Unknown"):
            # Asked, since a cache that stands still makes every node look silent.
            lease = await self.informers.ask(LEASES, f"{LEASE_NAMESPACE}/{key}")
            node = await self.informers.ask("nodes", key) or node
            silent_s = self._silent_s(node, lease)
        if silent_s > self._grace_s:
            node = await self._mark_unknown(node)
        await self._write_taints(node)
        if meta.condition_is(node, "Ready", "Unknown"):
            await self._mark_pods(node)
        left_s = self._grace_s - silent_s
        return Result(left_s + 0.05) if left_s >= 0 else None

    def _silent_s(self, node: Object, lease: Object | None) -> float:
        """How long nothing was heard; clocks of other machines are only compared for change."""
        name = node["metadata"]["name"]
        renewed = str(((lease or {}).get("spec") or {}).get("renewTime") or "")
        ready = meta.condition(node, "Ready") or {}
        unknown = ready.get("status") == "Unknown"
        heartbeat = "" if unknown else str(ready.get("lastHeartbeatTime") or "")
        sign = self._signs.get(name)
        previous = sign.value if sign else ("", "")
        value = (renewed, heartbeat or previous[1])
        if sign is None or sign.value != value:
            sign = self._signs[name] = _Sign(value, self.clock.now())
        return self.clock.now() - sign.seen_s

    async def _mark_unknown(self, node: Object) -> Object:
        changed = copy.deepcopy(node)
        now_s = self.clock.wall()
        for type_ in KUBELET_CONDITIONS:
            meta.set_condition(changed, _unknown(meta.condition(changed, type_), type_), now_s)
        if changed == node:
            return node
        changed = await self.client.update("nodes", changed, subresource="status")
        name = node["metadata"]["name"]
        message = f"Node {name} status is now: NodeNotReady"
        self.events.event(_as_reference(node), "Normal", "NodeNotReady", message)
        return changed

    async def _write_taints(self, node: Object) -> None:
        new = taints.wanted(node, self.clock.wall())
        if new == ((node.get("spec") or {}).get("taints") or []):
            return
        metadata = node["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"taints": new},
        }
        await self.client.patch("nodes", metadata["name"], patch)

    async def _mark_pods(self, node: Object) -> None:
        """Services stop sending to pods on a node that is not known to be well."""
        for pod in self._pods.by_index("node", node["metadata"]["name"]):
            if pods.is_ready(pod):
                await self._mark_pod(pod)

    async def _mark_pod(self, pod: Object) -> None:
        now = meta.format_time(self.clock.wall())
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": now}
        metadata = pod["metadata"]
        patch = {
            "metadata": {"uid": metadata["uid"]},
            "status": {"conditions": [condition]},
        }
        try:
            await self.client.patch(
                "pods",
                metadata["name"],
                patch,
                metadata["namespace"],
                kind="strategic",
                subresource="status",
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise
        self.events.event(pod, "Warning", "NodeNotReady", "Node is not ready")


def index_by_node(pod: Object) -> Iterable[str]:
    return [pods.node_name(pod)] if pods.node_name(pod) else []


def _node_of_lease(lease: Object) -> Iterable[str]:
    return [lease["metadata"]["name"]] if meta.namespace(lease) == LEASE_NAMESPACE else []


def _as_reference(node: Object) -> Object:
    name = node["metadata"]["name"]
    return {"kind": "Node", "apiVersion": "v1", "name": name, "uid": node["metadata"]["uid"]}


def _unknown(old: Object | None, type_: str) -> Object:
    if old is not None and old.get("status") == "Unknown":
        return old
    if old is None:
        reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
    else:
        reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
    return {"type": type_, "status": "Unknown", "reason": reason, "message": message}
