"""Which rows changed, so that what was computed from the rest can be kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Changes:
    """An append-only log of rows, of which only the newest part is kept."""

    limit = 4096

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._start = 0

    @property
    def position(self) -> int:
        return self._start + len(self._rows)

    def add(self, row: int) -> None:
        self._rows.append(row)
        if len(self._rows) > self.limit:
            half = len(self._rows) // 2
            del self._rows[:half]
            self._start += half

    def everything(self) -> None:
        """Rows moved: nothing that was computed before can be kept."""
        self._start += len(self._rows) + 1
        self._rows.clear()

    def since(self, position: int) -> NDArray[np.intp] | None:
        """The rows that changed after `position`, each once; None: any may have changed."""
        if position < self._start:
            return None
        rows = self._rows[position - self._start :]
        return np.array(sorted(set(rows)), np.intp)
