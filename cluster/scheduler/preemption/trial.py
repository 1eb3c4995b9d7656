"""Nodes on which pods are taken away and put back to see whether another pod would fit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from cluster.scheduler.columns import Columns, Hypothetical, View
from cluster.scheduler.model.pod_info import PodInfo

Changes = Iterable[tuple[int, PodInfo]]
"""(place of the node among those of the trial, pod)"""


class Trial(Protocol):
    @property
    def view(self) -> View: ...

    def take(self, changes: Changes) -> None: ...

    def put(self, changes: Changes) -> None: ...

    def end(self) -> None:
        """Everything is as it was."""
        ...


class Together:
    """Many nodes at once: right where what is on one of them does not matter for another."""

    def __init__(self, columns: Columns, nodes: Sequence[str]) -> None:
        rows = np.array([columns.rows[node] for node in nodes], np.intp)
        self.view = self._hypothetical = Hypothetical(columns, rows)

    def take(self, changes: Changes) -> None:
        self._hypothetical.account(changes, -1)

    def put(self, changes: Changes) -> None:
        self._hypothetical.account(changes, 1)

    def end(self) -> None:
        """Nothing was touched."""


class Alone:
    """One node; the columns themselves change meanwhile, so that every plugin sees it."""

    def __init__(self, columns: Columns, node: str) -> None:
        self._columns, self._node = columns, node
        self._before = {pod.uid: pod for pod in columns.pods_on(node)}
        self.view = View(columns, np.array([columns.rows[node]], np.intp))

    def take(self, changes: Changes) -> None:
        for _, pod in changes:
            self._columns.remove_pod(pod.uid)

    def put(self, changes: Changes) -> None:
        for _, pod in changes:
            self._columns.put_pod(self._node, pod)

    def end(self) -> None:
        now = {pod.uid for pod in self._columns.pods_on(self._node)}
        for uid in now - self._before.keys():
            self._columns.remove_pod(uid)
        for uid in self._before.keys() - now:
            self._columns.put_pod(self._node, self._before[uid])
