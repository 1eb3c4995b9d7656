"""All nodes as numpy columns: a pod is filtered and scored over every node at once.

Rows are nodes in no particular order. Pods are accounted by uid, so that telling of the same
pod twice changes nothing; pods on nodes that are not known (yet) are remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.requests import PodRequest, amounts

Object = dict[str, Any]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Taint = tuple[str, str, str]
"""(key, value, effect)"""

BASIC = ("cpu", "memory", "ephemeral-storage", "pods")


class Columns:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: dict[str, int] = {}
        self._allocatable: dict[str, Numbers] = {name: _zeros(0) for name in BASIC}
        self._requested: dict[str, Numbers] = {name: _zeros(0) for name in BASIC}
        self._scored: dict[str, Numbers] = {name: _zeros(0) for name in ("cpu", "memory")}
        self._labels: dict[str, NDArray[np.int32]] = {}
        self._values: dict[str, list[str]] = {}
        self._value_ids: dict[str, dict[str, int]] = {}
        self._taints: dict[Taint, Mask] = {}
        self._unschedulable: Mask = np.zeros(0, np.bool_)
        self._capacity = 0
        self._pods: dict[str, tuple[str, PodRequest]] = {}
        self._on_node: dict[str, dict[str, PodRequest]] = {}

    def __len__(self) -> int:
        return len(self.names)

    # Nodes

    def put_node(self, node: Object) -> None:
        """Add a node or bring its row up to date."""
        name = node["metadata"]["name"]
        if name not in self.rows:
            self._add_row(name)
        row = self.rows[name]
        spec, status = node.get("spec") or {}, node.get("status") or {}
        self._set_allocatable(row, amounts(status.get("allocatable") or status.get("capacity")))
        self._set_labels(row, node["metadata"].get("labels") or {})
        self._set_taints(row, spec.get("taints") or [])
        self._unschedulable[row] = bool(spec.get("unschedulable"))

    def remove_node(self, name: str) -> None:
        """The last row moves into the gap. Pods on the node stay remembered."""
        row = self.rows.pop(name, None)
        if row is None:
            return
        last = len(self.names) - 1
        for column in self._every_column():
            column[row] = column[last]
            column[last] = 0
        moved = self.names.pop()
        if moved != name:
            self.names[row] = moved
            self.rows[moved] = row

    def _add_row(self, name: str) -> None:
        row = len(self.names)
        if row == self._capacity:
            self._grow(max(16, 2 * self._capacity))
        self.names.append(name)
        self.rows[name] = row
        for pod in self._on_node.get(name, {}).values():
            self._account(row, pod, 1)

    def _grow(self, capacity: int) -> None:
        self._capacity = capacity
        for columns in (self._allocatable, self._requested, self._scored):
            for key, numbers in columns.items():
                columns[key] = _longer(numbers, capacity)
        for key, ids in self._labels.items():
            self._labels[key] = _longer(ids, capacity)
        for taint, mask in self._taints.items():
            self._taints[taint] = _longer(mask, capacity)
        self._unschedulable = _longer(self._unschedulable, capacity)

    def _every_column(self) -> list[NDArray[Any]]:
        groups: list[Mapping[Any, NDArray[Any]]] = [
            self._allocatable,
            self._requested,
            self._scored,
            self._labels,
            self._taints,
        ]
        return [column for group in groups for column in group.values()] + [self._unschedulable]

    def _set_allocatable(self, row: int, given: Mapping[str, int]) -> None:
        for name in given.keys() - self._allocatable.keys():
            self._allocatable[name] = _zeros(self._capacity)
        for name, column in self._allocatable.items():
            column[row] = given.get(name, 0)

    def _set_labels(self, row: int, labels: Mapping[str, str]) -> None:
        """Per key a column of value numbers; 0 means that the node lacks the label."""
        for key in labels.keys() - self._labels.keys():
            self._labels[key] = np.zeros(self._capacity, np.int32)
            self._values[key] = [""]
            self._value_ids[key] = {}
        for key, column in self._labels.items():
            column[row] = self._value_id(key, labels[key]) if key in labels else 0

    def _value_id(self, key: str, value: str) -> int:
        ids = self._value_ids[key]
        if value not in ids:
            ids[value] = len(self._values[key])
            self._values[key].append(value)
        return ids[value]

    def _set_taints(self, row: int, taints: list[Object]) -> None:
        present = {(t["key"], t.get("value") or "", t["effect"]) for t in taints}
        for taint in sorted(present - self._taints.keys()):
            self._taints[taint] = np.zeros(self._capacity, np.bool_)
        for taint, column in self._taints.items():
            column[row] = taint in present

    # Pods

    def put_pod(self, node: str, pod: PodRequest) -> None:
        """Account a pod to a node; wherever it was accounted before, it is not any more."""
        self.remove_pod(pod.uid)
        self._pods[pod.uid] = (node, pod)
        self._on_node.setdefault(node, {})[pod.uid] = pod
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
        if node in self.rows:
            self._account(self.rows[node], pod, -1)
        return True

    def node_of(self, uid: str) -> str | None:
        return self._pods[uid][0] if uid in self._pods else None

    def pods_on(self, node: str) -> list[PodRequest]:
        return [*self._on_node.get(node, {}).values()]

    def _account(self, row: int, pod: PodRequest, sign: int) -> None:
        for name, number in (pod.requests | {"pods": 1}).items():
            if name not in self._requested:
                self._requested[name] = _zeros(self._capacity)
            self._requested[name][row] += sign * number
        for name in self._scored:
            self._scored[name][row] += sign * pod.scored.get(name, 0)

    # What plugins read: arrays with one entry per node, not to be changed.

    def allocatable(self, resource: str) -> Numbers:
        return self._column(self._allocatable, resource)

    def requested(self, resource: str) -> Numbers:
        return self._column(self._requested, resource)

    def scored(self, resource: str) -> Numbers:
        """Requests with defaults for containers that state none; cpu and memory."""
        return self._column(self._scored, resource)

    def _column(self, columns: Mapping[str, Numbers], name: str) -> Numbers:
        size = len(self.names)
        return columns[name][:size] if name in columns else _zeros(size)

    @property
    def unschedulable(self) -> Mask:
        return self._unschedulable[: len(self.names)]

    def taints(self) -> list[tuple[Taint, Mask]]:
        """Each distinct taint, with the nodes that have it."""
        return [(taint, mask[: len(self.names)]) for taint, mask in self._taints.items()]

    def has_label(self, key: str) -> Mask:
        if key not in self._labels:
            return np.zeros(len(self.names), np.bool_)
        return self._labels[key][: len(self.names)] > 0

    def label_in(self, key: str, values: list[str]) -> Mask:
        ids = [i for v in values if (i := self._value_ids.get(key, {}).get(v)) is not None]
        if not ids:
            return np.zeros(len(self.names), np.bool_)
        return np.isin(self._labels[key][: len(self.names)], ids)

    def label_values(self, key: str) -> list[str]:
        """Every value that any node has (or had) for this label."""
        return self._values.get(key, [""])[1:]


def _zeros(size: int) -> Numbers:
    return np.zeros(size, np.int64)


def _longer(column: NDArray[Any], size: int) -> NDArray[Any]:
    result = np.zeros(size, column.dtype)
    result[: len(column)] = column
    return result
