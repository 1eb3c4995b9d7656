"""All nodes as columns, and the pods that run on them or are about to.

Pods are accounted by uid, so that telling of the same pod twice changes nothing; pods on nodes
that are not known (yet) are remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cluster.scheduler.columns.amounts import Amounts
from cluster.scheduler.columns.catalog import Catalog
from cluster.scheduler.columns.census import Census, Owners, Question
from cluster.scheduler.columns.changes import Changes
from cluster.scheduler.columns.labels import Labels
from cluster.scheduler.columns.table import Column, Numbers, Table
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.model.requests import Port, amounts
from cluster.scheduler.model.terms import NO_AFFINITY

Object = dict[str, Any]
Taint = tuple[str, str, str]
"""(key, value, effect)"""


class Columns:
    """`node_changes`: rows whose node changed; `pod_changes`: rows whose pods did."""

    def __init__(self) -> None:
        self.table = Table()
        self.labels = Labels(self.table)
        self.amounts = Amounts(self.table)
        self.census = Census(self.table)
        self.owners = Owners(self.table)
        self.catalog = Catalog()
        self.node_changes, self.pod_changes = Changes(), Changes()
        self.taint_lists: list[tuple[Taint, ...]] = [()]
        self.taint_list = self.table.column(np.int32)
        self.unschedulable = self.table.column(np.bool_)
        self.claim_count = self.table.column(np.int64)
        """How many claims the pods of each node use; one used by two pods counts twice."""
        self.ports: dict[Port, Column] = {}
        self.images: dict[str, dict[str, int]] = {}
        self._taint_numbers: dict[tuple[Taint, ...], int] = {(): 0}
        self._nodes: dict[str, Object] = {}
        self._pods: dict[str, tuple[str, PodInfo]] = {}
        self._on_node: dict[str, dict[str, PodInfo]] = {}
        self.priorities: Counter[int] = Counter()
        """How many pods of each priority there are on nodes that exist."""
        self.claim_users: dict[str, dict[str, str]] = {}
        """Per PersistentVolumeClaim the nodes of the pods (by uid) that use it."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def names(self) -> list[str]:
        return self.table.names

    @property
    def rows(self) -> dict[str, int]:
        return self.table.rows

    # Nodes

    def node(self, name: str) -> Object:
        return self._nodes[name]

    def put_node(self, node: Object) -> None:
        """Add a node or bring its row up to date."""
        name = node["metadata"]["name"]
        known = name in self.rows
        if not known:
            self._add(name)
        row = self.rows[name]
        spec, status = node.get("spec") or {}, node.get("status") or {}
        allocatable = amounts(status.get("allocatable") or status.get("capacity"))
        self.amounts.set_allocatable(row, allocatable)
        self.labels.set(name, node["metadata"].get("labels") or {})
        self.taint_list.array[row] = self._taints(spec.get("taints") or [])
        self.unschedulable.array[row] = bool(spec.get("unschedulable"))
        self._set_images(name, status.get("images") or ())
        self._nodes[name] = node
        if known:
            self.node_changes.add(row)
        else:
            self._rows_moved()

    def remove_node(self, name: str) -> None:
        """Pods on the node stay remembered."""
        if name not in self.rows:
            return
        for pod in self._on_node.get(name, {}).values():
            self._account(self.rows[name], pod, -1)
        self._set_images(name, ())
        self.labels.forget(name)
        del self._nodes[name]
        self.table.remove(name)
        self._rows_moved()

    def _add(self, name: str) -> None:
        row = self.table.append(name)
        for pod in self._on_node.get(name, {}).values():
            self._account(row, pod, 1)

    def _rows_moved(self) -> None:
        self.node_changes.everything()
        self.pod_changes.everything()

    def _taints(self, taints: list[Object]) -> int:
        """Nodes mostly have one of very few lists of taints, so lists are numbered."""
        found = tuple((t["key"], t.get("value") or "", t["effect"]) for t in taints)
        if found not in self._taint_numbers:
            self._taint_numbers[found] = len(self.taint_lists)
            self.taint_lists.append(found)
        return self._taint_numbers[found]

    def _set_images(self, node: str, images: Iterable[Object]) -> None:
        old = (self._nodes.get(node, {}).get("status") or {}).get("images") or ()
        if old == images:
            return
        for image in (name for entry in old for name in entry.get("names") or ()):
            self.images.get(image, {}).pop(node, None)
            if not self.images.get(image):
                self.images.pop(image, None)
        for entry in images:
            for image in entry.get("names") or ():
                self.images.setdefault(image, {})[node] = int(entry.get("sizeBytes") or 0)

    # Pods

    def put_pod(self, node: str, pod: PodInfo) -> None:
        """Account a pod to a node; wherever it was accounted before, it is not any more."""
        before, known = self._pods.get(pod.uid, ("", None))
        if known is not None and before == node and known.counts_like(pod):
            self._pods[pod.uid] = (node, pod)
            self._on_node[node][pod.uid] = pod
            return
        self.remove_pod(pod.uid)
        self._pods[pod.uid] = (node, pod)
        self._on_node.setdefault(node, {})[pod.uid] = pod
        for claim in pod.claims:
            self.claim_users.setdefault(claim, {})[pod.uid] = node
        if node in self.rows:
            self._account(self.rows[node], pod, 1)

    def remove_pod(self, uid: str) -> bool:
        """Whether it was accounted anywhere."""
        node, pod = self._pods.pop(uid, ("", None))
        if pod is None:
            return False
        del self._on_node[node][uid]
        if not self._on_node[node]:
            del self._on_node[node]
        for claim in pod.claims:
            self.claim_users.get(claim, {}).pop(uid, None)
            if not self.claim_users.get(claim):
                self.claim_users.pop(claim, None)
        if node in self.rows:
            self._account(self.rows[node], pod, -1)
        return True

    @contextmanager
    def what_if(
        self, add: Iterable[tuple[str, PodInfo]] = (), remove: Iterable[str] = ()
    ) -> Iterator[None]:
        """Within the block pods are, or are not, on nodes; afterwards all is as before.

        Pods that are added must not be accounted already.
        """
        added = [*add]
        removed = [self._pods[uid] for uid in remove if uid in self._pods]
        for _, pod in removed:
            self.remove_pod(pod.uid)
        for node, pod in added:
            self.put_pod(node, pod)
        try:
            yield
        finally:
            for _, pod in added:
                self.remove_pod(pod.uid)
            for node, pod in removed:
                self.put_pod(node, pod)

    def node_of(self, uid: str) -> str | None:
        return self._pods[uid][0] if uid in self._pods else None

    def pods_on(self, node: str) -> list[PodInfo]:
        return [*self._on_node.get(node, {}).values()]

    def placed(self) -> Iterable[tuple[str, PodInfo]]:
        return self._pods.values()

    def _account(self, row: int, pod: PodInfo, sign: int) -> None:
        self.pod_changes.add(row)
        self.amounts.account(row, pod, sign)
        self.census.account(row, pod, sign)
        self.claim_count.array[row] += sign * len(pod.claims)
        self.priorities[pod.priority] += sign
        if pod.affinity is not NO_AFFINITY:
            self.owners.account(row, pod, sign)
        for port in pod.ports:
            if port not in self.ports:
                self.ports[port] = self.table.column(np.int32)
            self.ports[port].array[row] += sign

    def count(self, question: Question) -> Numbers:
        """Per node, how many of its pods are meant. Not to be changed."""
        return self.census.count(question, self.placed())[: len(self)]
