"""What plugins that look at single nodes say of every node: kept, and renewed where it changed.

Pods with the same signature share one evaluation. After a binding only the node that took the
pod is asked again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns import Columns, Mask, View
from cluster.scheduler.framework.plugin import FilterPlugin, Scope, Scores
from cluster.scheduler.framework.profile import Profile
from cluster.scheduler.model.pod_info import PodInfo


def passing(view: View, pod: PodInfo, filters: Iterable[FilterPlugin]) -> Mask:
    """Which nodes of the view none of the filters rejects."""
    result = view.all()
    for plugin in filters:
        for rejection in plugin.filter(view, pod):
            result &= ~rejection.nodes
    return result


class Evaluation:
    """`fits`: nodes that filters of scope NODE and PODS let through; `raw` scores by plugin name,
    `total` the weighted sum of those that need no normalization."""

    def __init__(self, columns: Columns, profile: Profile, pod: PodInfo) -> None:
        self._columns = columns
        self._filters = {
            scope: [p for p in profile.filters if p.scope is scope and p.filters(pod, columns)]
            for scope in (Scope.NODE, Scope.PODS)
        }
        self._scores = {
            scope: [
                (p, w) for p, w in profile.scores if p.scope is scope and p.scores(pod, columns)
            ]
            for scope in (Scope.NODE, Scope.PODS)
        }
        self._fits: dict[Scope, Mask] = {}
        self._totals: dict[Scope, Scores] = {}
        self.raw: dict[str, Scores] = {}
        self._everything(pod)

    @property
    def fits(self) -> Mask:
        return self._fits[Scope.NODE] & self._fits[Scope.PODS]

    @property
    def total(self) -> Scores:
        return self._totals[Scope.NODE] + self._totals[Scope.PODS]

    def renew(self, pod: PodInfo) -> None:
        columns = self._columns
        nodes = columns.node_changes.since(self._nodes_seen)
        pods = columns.pod_changes.since(self._pods_seen)
        if nodes is None or pods is None or len(nodes) + len(pods) > len(columns) // 2:
            self._everything(pod)
            return
        self._mark()
        if len(nodes):
            self._update(Scope.NODE, pod, nodes)
            pods = np.union1d(nodes, pods)
        if len(pods):
            self._update(Scope.PODS, pod, pods)

    def _mark(self) -> None:
        self._nodes_seen = self._columns.node_changes.position
        self._pods_seen = self._columns.pod_changes.position

    def _everything(self, pod: PodInfo) -> None:
        self._mark()
        size, whole = len(self._columns), np.arange(len(self._columns))
        for scope, scores in self._scores.items():
            self._fits[scope] = np.zeros(size, np.bool_)
            self._totals[scope] = np.zeros(size, np.int64)
            for plugin, _ in scores:
                if plugin.normalizes:
                    self.raw[plugin.name] = np.zeros(size, np.int64)
            self._update(scope, pod, whole, View(self._columns))

    def _update(
        self, scope: Scope, pod: PodInfo, rows: NDArray[np.intp], view: View | None = None
    ) -> None:
        view = view or View(self._columns, rows)
        self._fits[scope][rows] = passing(view, pod, self._filters[scope])
        total: Scores = np.zeros(len(view), np.int64)
        for plugin, weight in self._scores[scope]:
            scores = plugin.score(view, pod, view.all())
            if plugin.normalizes:
                self.raw[plugin.name][rows] = scores
            else:
                total += weight * scores
        self._totals[scope][rows] = total


class Evaluations:
    """The newest of them, by signature."""

    limit = 128

    def __init__(self, columns: Columns, profile: Profile) -> None:
        self._columns, self._profile = columns, profile
        plugins = {p.name: p for p in (*profile.filters, *(p for p, _ in profile.scores))}
        self._signing = [p for p in plugins.values() if p.scope is not Scope.CLUSTER]
        self._kept: dict[Hashable, Evaluation] = {}

    def of(self, pod: PodInfo) -> Evaluation:
        signature = tuple(plugin.signature(pod) for plugin in self._signing)
        found = self._kept.pop(signature, None)
        if found is None:
            if len(self._kept) >= self.limit:
                del self._kept[next(iter(self._kept))]
            found = Evaluation(self._columns, self._profile, pod)
        else:
            found.renew(pod)
        self._kept[signature] = found
        return found
