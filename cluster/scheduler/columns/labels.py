"""Labels of nodes: per key a column of numbers that stand for its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns.table import Column, Table


class Labels:
    """Number 0 means that the node lacks the label. Numbers are never used again."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns: dict[str, Column] = {}
        self._values: dict[str, list[str]] = {}
        self._numbers: dict[str, dict[str, int]] = {}
        self._keys: dict[str, frozenset[str]] = {}

    def set(self, name: str, labels: Mapping[str, str]) -> None:
        row, old = self._table.rows[name], self._keys.get(name, frozenset())
        for key in old - labels.keys():
            self._columns[key].array[row] = 0
        for key, value in labels.items():
            if key not in self._columns:
                self._columns[key] = self._table.column(np.int32)
                self._values[key], self._numbers[key] = [""], {}
            self._columns[key].array[row] = self._number(key, value)
        self._keys[name] = frozenset(labels)

    def forget(self, name: str) -> None:
        """The node is gone; its row is the table's to clear."""
        self._keys.pop(name, None)

    def _number(self, key: str, value: str) -> int:
        numbers = self._numbers[key]
        if value not in numbers:
            numbers[value] = len(self._values[key])
            self._values[key].append(value)
        return numbers[value]

    def column(self, key: str) -> NDArray[np.int32] | None:
        """Whole array of the key's numbers; None if no node ever had the label."""
        return self._columns[key].array if key in self._columns else None

    def numbers(self, key: str, values: Iterable[str]) -> list[int]:
        known = self._numbers.get(key, {})
        return [known[value] for value in values if value in known]

    def values(self, key: str) -> list[str]:
        """What each number stands for; the first entry, of number 0, stands for nothing."""
        return self._values.get(key, [""])
