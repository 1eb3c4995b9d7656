"""Rows as they would be with other pods on them, without touching the columns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns.columns import Columns
from cluster.scheduler.columns.table import Numbers
from cluster.scheduler.columns.view import View
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.model.requests import Port


class Hypothetical(View):
    """What pods take of their own node is as they say; anything about other nodes is as it is.

    So plugins of scope NODE and PODS can be asked, others can not.
    """

    def __init__(self, columns: Columns, rows: NDArray[np.intp]) -> None:
        super().__init__(columns, rows)
        self._requested: dict[str, Numbers] = {}
        self._ports: dict[Port, Numbers] = {}

    def requested(self, resource: str) -> Numbers:
        if resource not in self._requested:
            self._requested[resource] = super().requested(resource).copy()
        return self._requested[resource]

    def port_users(self, port: Port) -> Numbers:
        if port not in self._ports:
            users = self.columns.ports.get(port)
            taken = 0 if users is None else users.array[self.rows]
            self._ports[port] = np.zeros(self.size, np.int64) + taken
        return self._ports[port]

    def ports(self) -> Iterable[Port]:
        return {**self.columns.ports, **self._ports}

    def account(self, changes: Iterable[tuple[int, PodInfo]], sign: int) -> None:
        """Pods come to (or with -1, leave) the nodes at these places of the view."""
        alike: dict[tuple[tuple[str, int], ...], list[int]] = {}
        for place, pod in changes:
            alike.setdefault(pod.wanted, []).append(place)
            for port in pod.ports:
                self.port_users(port)[place] += sign
        for requests, places in alike.items():
            for name, number in (*requests, ("pods", 1)):
                np.add.at(self.requested(name), places, sign * number)
