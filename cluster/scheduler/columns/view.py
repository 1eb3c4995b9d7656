"""Some or all rows of the columns: what plugins read. Arrays are not to be changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns.census import Question
from cluster.scheduler.columns.columns import Columns
from cluster.scheduler.columns.table import Mask, Numbers, Rows
from cluster.scheduler.model.requests import Port


class View:
    """Every array has one entry per row of the view, in the view's order."""

    def __init__(self, columns: Columns, rows: NDArray[np.intp] | None = None) -> None:
        self.columns = columns
        self.rows: Rows = slice(0, len(columns)) if rows is None else rows
        self.size = len(columns) if rows is None else len(rows)

    def __len__(self) -> int:
        return self.size

    def none(self) -> Mask:
        return np.zeros(self.size, np.bool_)

    def all(self) -> Mask:
        return np.ones(self.size, np.bool_)

    def names(self) -> Sequence[str]:
        names = self.columns.names
        return names if isinstance(self.rows, slice) else [names[row] for row in self.rows]

    def take(self, whole: NDArray[Any]) -> NDArray[Any]:
        """Of an array with an entry for every node, those of this view."""
        return whole[self.rows]

    def named(self, names: Iterable[str]) -> Mask:
        return self.take(self.columns.table.mask(names))

    # Resources

    def allocatable(self, resource: str) -> Numbers:
        amounts = self.columns.amounts
        return amounts.read(amounts.allocatable, resource)[self.rows]

    def requested(self, resource: str) -> Numbers:
        amounts = self.columns.amounts
        return amounts.read(amounts.requested, resource)[self.rows]

    def scored(self, resource: str) -> Numbers:
        """As `requested`, with defaults for containers that ask for no cpu or memory."""
        amounts = self.columns.amounts
        return amounts.read(amounts.scored, resource)[self.rows]

    # Labels

    def values(self, key: str) -> NDArray[np.int32]:
        """Numbers that stand for the label's values; 0: the node lacks it."""
        column = self.columns.labels.column(key)
        if column is None:
            return np.zeros(self.size, np.int32)
        numbers: NDArray[np.int32] = column[self.rows]
        return numbers

    def has_label(self, key: str) -> Mask:
        return self.values(key) > 0

    def label_in(self, key: str, values: Iterable[str]) -> Mask:
        numbers = self.columns.labels.numbers(key, values)
        if not numbers:
            return self.none()
        found = self.values(key)
        mask: Mask = found == numbers[0] if len(numbers) == 1 else np.isin(found, numbers)
        return mask

    # Taints and the rest

    def of_taints(self, per_list: NDArray[Any]) -> NDArray[Any]:
        """From something about each of `columns.taint_lists` to the same about each node."""
        result: NDArray[Any] = per_list[self.columns.taint_list.array[self.rows]]
        return result

    @property
    def unschedulable(self) -> Mask:
        mask: Mask = self.columns.unschedulable.array[self.rows]
        return mask

    def ports(self) -> Iterable[Port]:
        """Every host port that some pod has."""
        return self.columns.ports

    def port_users(self, port: Port) -> Numbers:
        users: Numbers = self.columns.ports[port].array[self.rows]
        return users

    def count(self, question: Question) -> Numbers:
        return self.columns.count(question)[self.rows]
