"""Pods for which room is being made on a node: others of no higher priority leave it to them."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.scheduler.model.pod_info import PodInfo


class Nominations:
    def __init__(self) -> None:
        self._nodes: dict[str, str] = {}
        self._pods: dict[str, dict[str, PodInfo]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def put(self, node: str, pod: PodInfo) -> None:
        self.remove(pod.uid)
        self._nodes[pod.uid] = node
        self._pods.setdefault(node, {})[pod.uid] = pod

    def remove(self, uid: str) -> None:
        node = self._nodes.pop(uid, None)
        if node is not None:
            del self._pods[node][uid]
            if not self._pods[node]:
                del self._pods[node]

    def node_of(self, uid: str) -> str:
        return self._nodes.get(uid, "")

    def on(self, node: str) -> Iterable[PodInfo]:
        return self._pods.get(node, {}).values()

    def before(self, pod: PodInfo) -> dict[str, list[PodInfo]]:
        """By node, those that `pod` must leave room for."""
        found = {}
        for node, pods in self._pods.items():
            kept = [p for p in pods.values() if p.priority >= pod.priority and p.uid != pod.uid]
            if kept:
                found[node] = kept
        return found
