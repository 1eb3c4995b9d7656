"""Columns of equal length, whose rows are packed: the last one fills the gap of one removed."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Rows = slice | NDArray[np.intp]


class Column:
    """`array` may be longer than the table; only the first `Table.size` entries count."""

    __slots__ = ("__weakref__", "array")

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array


class Table:
    """A column that nobody refers to any more is forgotten."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: dict[str, int] = {}
        self._capacity = 16
        self._columns: weakref.WeakSet[Column] = weakref.WeakSet()

    def __len__(self) -> int:
        return len(self.names)

    def column(self, dtype: Any = np.int64) -> Column:
        """A new one, of zeros."""
        made = Column(np.zeros(self._capacity, dtype))
        self._columns.add(made)
        return made

    def append(self, name: str) -> int:
        row = len(self.names)
        if row == self._capacity:
            self._grow(2 * self._capacity)
        self.names.append(name)
        self.rows[name] = row
        return row

    def remove(self, name: str) -> None:
        row, last = self.rows.pop(name), len(self.names) - 1
        for column in self._columns:
            column.array[row] = column.array[last]
            column.array[last] = 0
        moved = self.names.pop()
        if moved != name:
            self.names[row] = moved
            self.rows[moved] = row

    def mask(self, names: Any) -> Mask:
        """The rows of those of these names that exist."""
        result = np.zeros(len(self.names), np.bool_)
        result[[self.rows[name] for name in names if name in self.rows]] = True
        return result

    def _grow(self, capacity: int) -> None:
        self._capacity = capacity
        for column in self._columns:
            longer = np.zeros(capacity, column.array.dtype)
            longer[: len(column.array)] = column.array
            column.array = longer
