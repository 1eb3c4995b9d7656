"""Counts of pods per node: those that a selector means, and those that own a term of affinity.

A count is begun when it is first asked for and kept up to date from then on, as long as it is
asked for now and then. Pods that look alike to selectors are matched once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cluster.scheduler.columns.table import Column, Numbers, Table
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.model.terms import Pods, Term, Weighted


@dataclass(frozen=True, slots=True)
class Question:
    """Pods that all of `pods` mean; `living`: those that are not being deleted."""

    pods: tuple[Pods, ...]
    living: bool = False


Placed = Iterable[tuple[str, PodInfo]]
"""(node, pod)"""


class Census:
    limit = 512
    """How many counts are kept: the oldest unasked is dropped (it can be begun again)."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._counts: dict[Question, Column] = {}
        self._answers: dict[Hashable, list[Column]] = {}

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Counts that select namespaces have to begin again."""
        if self._namespaces.get(name) == labels:
            return
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels
        selecting = [q for q in self._counts if any(p.namespace_selector for p in q.pods)]
        for question in selecting:
            del self._counts[question]
        self._answers.clear()

    def means(self, pods: Pods, pod: PodInfo) -> bool:
        return pods.match(pod.namespace, pod.labels, self._namespaces)

    def count(self, question: Question, placed: Placed) -> Numbers:
        """Whole array: how many pods of each node; `placed` are all there are."""
        column = self._counts.pop(question, None)
        if column is None:
            column = self._begin(question, placed)
        self._counts[question] = column
        array: Numbers = column.array
        return array

    def _begin(self, question: Question, placed: Placed) -> Column:
        if len(self._counts) >= self.limit:
            del self._counts[next(iter(self._counts))]
        self._answers.clear()
        column = self._table.column()
        verdicts: dict[Hashable, bool] = {}
        for node, pod in placed:
            if pod.kind not in verdicts:
                verdicts[pod.kind] = self._holds(question, pod)
            if verdicts[pod.kind] and node in self._table.rows:
                column.array[self._table.rows[node]] += 1
        return column

    def _holds(self, question: Question, pod: PodInfo) -> bool:
        if question.living and pod.terminating:
            return False
        return all(self.means(pods, pod) for pods in question.pods)

    def account(self, row: int, pod: PodInfo, sign: int) -> None:
        if not self._counts:
            return
        columns = self._answers.get(pod.kind)
        if columns is None:
            if len(self._answers) > 16 * self.limit:
                self._answers.clear()
            found = [c for q, c in self._counts.items() if self._holds(q, pod)]
            columns = self._answers[pod.kind] = found
        for column in columns:
            column.array[row] += sign


class Owners:
    """Per distinct term of affinity, how many pods of each node have it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.required: dict[Term, Column] = {}
        self.required_anti: dict[Term, Column] = {}
        self.preferred: dict[Weighted, Column] = {}
        self._totals: dict[int, int] = {}

    def account(self, row: int, pod: PodInfo, sign: int) -> None:
        affinity = pod.affinity
        for term in affinity.required:
            self._add(self.required, term, row, sign)
        for term in affinity.required_anti:
            self._add(self.required_anti, term, row, sign)
        for weighted in affinity.preferred:
            self._add(self.preferred, weighted, row, sign)

    def _add(self, columns: dict[Any, Column], term: Any, row: int, sign: int) -> None:
        column = columns.get(term)
        if column is None:
            column = columns[term] = self._table.column(np.int64)
            self._totals[id(column)] = 0
        column.array[row] += sign
        self._totals[id(column)] += sign
        if not self._totals[id(column)]:
            del self._totals[id(column)], columns[term]
