"""Per resource, what nodes have and what their pods ask for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cluster.scheduler.columns.table import Column, Numbers, Table
from cluster.scheduler.model.pod_info import PodInfo


class Amounts:
    def __init__(self, table: Table) -> None:
        self._table = table
        self.allocatable: dict[str, Column] = {}
        self.requested: dict[str, Column] = {}
        self.scored: dict[str, Column] = {}

    def set_allocatable(self, row: int, given: Mapping[str, int]) -> None:
        for name in given.keys() - self.allocatable.keys():
            self.allocatable[name] = self._table.column()
        for name, column in self.allocatable.items():
            column.array[row] = given.get(name, 0)

    def account(self, row: int, pod: PodInfo, sign: int) -> None:
        self._add(self.requested, row, "pods", sign)
        for name, number in pod.requests.items():
            self._add(self.requested, row, name, sign * number)
        for name, number in pod.scored.items():
            self._add(self.scored, row, name, sign * number)

    def _add(self, columns: dict[str, Column], row: int, name: str, number: int) -> None:
        column = columns.get(name)
        if column is None:
            column = columns[name] = self._table.column()
        column.array[row] += number

    def read(self, columns: Mapping[str, Column], name: str) -> Numbers:
        """The whole array; zeros for a resource that nobody has."""
        if name in columns:
            array: Numbers = columns[name].array
            return array
        return np.zeros(max(16, len(self._table)), np.int64)
