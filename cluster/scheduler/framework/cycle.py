"""The scheduling cycle: filters rule nodes out, scores rank what remains. Pure.

Scheduling the same pods over the same columns with the same choices gives the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cluster.scheduler.columns import Columns, Hypothetical, Mask, View
from cluster.scheduler.framework.decision import Decision, Diagnosis
from cluster.scheduler.framework.evaluation import Evaluation, Evaluations, passing
from cluster.scheduler.framework.nominations import Nominations
from cluster.scheduler.framework.plugin import (
    FilterPlugin,
    Nomination,
    Only,
    Refused,
    Scope,
    Scores,
)
from cluster.scheduler.framework.profile import Profile
from cluster.scheduler.model.pod_info import PodInfo

Choose = Callable[[int], int]
"""From a number of equally good nodes to the index of one (upstream picks at random)."""


FEW = 16
"""So many nodes are looked at by themselves, without a lasting evaluation of all nodes."""


def first(count: int) -> int:
    return 0


class Cycle:
    """Decides for the pods of one profile. Reads the columns; the caller accounts what it binds."""

    def __init__(
        self,
        columns: Columns,
        profile: Profile,
        nominations: Nominations | None = None,
        choose: Choose = first,
    ) -> None:
        self.columns, self.profile, self.choose = columns, profile, choose
        self.nominations = Nominations() if nominations is None else nominations
        self._evaluations = Evaluations(columns, profile)
        self._cluster_filters = [p for p in profile.filters if p.scope is Scope.CLUSTER]

    def decide(self, pod: PodInfo) -> Decision:
        """The best node; or why there is none, and what PostFilter plugins would do about it."""
        feasible, evaluation, refused = self.feasible(pod)
        if refused is None and feasible.any():
            return self.select(pod, feasible, evaluation)
        diagnosis = self.diagnose(pod)
        return Decision("", 0, diagnosis, self.post_filter(pod, diagnosis))

    def select(
        self,
        pod: PodInfo,
        feasible: Mask,
        evaluation: Evaluation | None,
        more: Scores | None = None,
    ) -> Decision:
        """The best of the feasible nodes, of which there is at least one. `more`: extra scores."""
        count = int(np.count_nonzero(feasible))
        if nominated := self._nominated(pod, feasible):
            return Decision(nominated, count)
        if count == 1:
            return Decision(self.columns.names[int(feasible.argmax())], 1)
        total = self.scores(pod, feasible, evaluation)
        if more is not None:
            total += more
        best = np.flatnonzero(feasible & (total == total.max(where=feasible, initial=-1)))
        return Decision(self.columns.names[best[self.choose(len(best))]], count)

    def _nominated(self, pod: PodInfo, feasible: Mask) -> str:
        """The node on which room was made for the pod, if it fits there now."""
        node = self.nominations.node_of(pod.uid) or pod.nominated
        row = self.columns.rows.get(node) if node else None
        return node if row is not None and feasible[row] else ""

    # Filters

    def feasible(self, pod: PodInfo) -> tuple[Mask, Evaluation | None, Refused | None]:
        """Nodes that all filters let through (meaningless after a refusal)."""
        only, refused = self._pre_filter(pod)
        if refused is not None:
            return np.zeros(len(self.columns), np.bool_), None, refused
        if only is not None and len(only) <= FEW:
            evaluation, result = None, self._fits_on(pod, only)
        else:
            evaluation = self._evaluations.of(pod)
            result = self._fits(pod, evaluation, only)
        if len(self.nominations) and result.any():
            self._leave_room(pod, result)
        return result, evaluation, None

    def _pre_filter(self, pod: PodInfo) -> tuple[frozenset[str] | None, Refused | None]:
        """The only nodes that come into question (None: any), or why none does."""
        only: frozenset[str] | None = None
        for plugin in self.profile.pre_filters:
            answer = plugin.pre_filter(self.columns, pod)
            if isinstance(answer, Refused):
                return only, answer
            if isinstance(answer, Only):
                only = answer.nodes if only is None else only & answer.nodes
        return only, None

    def _fits(self, pod: PodInfo, evaluation: Evaluation, only: frozenset[str] | None) -> Mask:
        result, view = evaluation.fits, View(self.columns)
        if only is not None:
            result &= self.columns.table.mask(only)
        for plugin in self._cluster_filters if result.any() else ():
            if plugin.filters(pod, self.columns):
                result &= passing(view, pod, [plugin])
        return result

    def _fits_on(self, pod: PodInfo, only: frozenset[str]) -> Mask:
        """Pods of DaemonSets each ask for another node: what is found out is of use once."""
        result = self.columns.table.mask(only)
        rows = np.flatnonzero(result)
        filters = [p for p in self.profile.filters if p.filters(pod, self.columns)]
        result[rows] = passing(View(self.columns, rows), pod, filters)
        return result

    def dynamic_filters(self, pod: PodInfo) -> list[FilterPlugin]:
        """Those whose answer about a node changes with the pods of the cluster."""
        found = self.profile.filters
        return [p for p in found if p.scope is not Scope.NODE and p.filters(pod, self.columns)]

    def _leave_room(self, pod: PodInfo, feasible: Mask) -> None:
        """Nodes must also do with the pods that are nominated for them."""
        rows = self.columns.rows
        before = self.nominations.before(pod)
        before = {n: pods for n, pods in before.items() if n in rows and feasible[rows[n]]}
        filters = self.dynamic_filters(pod)
        if before and any(plugin.scope is Scope.CLUSTER for plugin in filters):
            for node, pods in before.items():
                with self.columns.what_if([(node, nominated) for nominated in pods]):
                    view = View(self.columns, np.array([rows[node]], np.intp))
                    feasible[view.rows] &= passing(view, pod, filters)
        elif before:
            there = np.array([rows[node] for node in before], np.intp)
            hypothetical = Hypothetical(self.columns, there)
            for place, pods in enumerate(before.values()):
                hypothetical.account([(place, nominated) for nominated in pods], 1)
            feasible[there] &= passing(hypothetical, pod, filters)

    # Scores

    def scores(self, pod: PodInfo, feasible: Mask, evaluation: Evaluation | None = None) -> Scores:
        """Weighted sums per node; only those of feasible nodes mean anything."""
        evaluation = evaluation or self._evaluations.of(pod)
        total, view = evaluation.total, View(self.columns)
        for plugin, weight in self.profile.scores:
            if not plugin.scores(pod, self.columns):
                continue
            if plugin.scope is Scope.CLUSTER:
                raw = plugin.score(view, pod, feasible)
            elif plugin.normalizes:
                raw = evaluation.raw[plugin.name]
            else:
                continue
            total += weight * plugin.normalize(raw, feasible)
        return total

    # When no node will do

    def diagnose(self, pod: PodInfo) -> Diagnosis:
        """A node counts for the first filter that rejects it, with all of that filter's reasons.

        Pods that are nominated for nodes count as if they were there.
        """
        before = self.nominations.before(pod) if len(self.nominations) else {}
        added = [(node, nominated) for node, pods in before.items() for nominated in pods]
        with self.columns.what_if(add=added):
            return self._diagnose(pod)

    def _diagnose(self, pod: PodInfo) -> Diagnosis:
        diagnosis = Diagnosis(len(self.columns), resolvable=np.zeros(len(self.columns), np.bool_))
        left = np.ones(len(self.columns), np.bool_)
        for plugin in self.profile.pre_filters:
            answer = plugin.pre_filter(self.columns, pod)
            if isinstance(answer, Refused):
                diagnosis.refusal = answer.reason
                diagnosis.plugins.add(plugin.name)
                diagnosis.resolvable = left if answer.resolvable else None
                return diagnosis
            if isinstance(answer, Only):
                excluded = left & ~self.columns.table.mask(answer.nodes)
                self._count(diagnosis, plugin.name, excluded, _excluded_by(plugin.name))
                left &= ~excluded
        for filter_ in self.profile.filters:
            if filter_.filters(pod, self.columns):
                left = self._diagnose_filter(filter_, pod, left, diagnosis)
        return diagnosis

    def _diagnose_filter(
        self, plugin: FilterPlugin, pod: PodInfo, left: Mask, diagnosis: Diagnosis
    ) -> Mask:
        rejected, final = np.zeros(len(left), np.bool_), np.zeros(len(left), np.bool_)
        for rejection in plugin.filter(View(self.columns), pod):
            nodes = rejection.nodes & left
            self._count(diagnosis, plugin.name, nodes, rejection.reason)
            rejected |= nodes
            if not rejection.resolvable:
                final |= nodes
        if diagnosis.resolvable is not None:
            diagnosis.resolvable |= rejected & ~final
        return left & ~rejected

    def _count(self, diagnosis: Diagnosis, plugin: str, nodes: Mask, reason: str) -> None:
        count = int(np.count_nonzero(nodes))
        if count:
            diagnosis.reasons[reason] += count
            diagnosis.plugins.add(plugin)

    def post_filter(self, pod: PodInfo, diagnosis: Diagnosis) -> Nomination | None:
        """The first plugin that finds a node, or what all of them had to say."""
        messages, keeps = [], False
        for plugin in self.profile.post_filters if diagnosis.node_count else ():
            nomination = plugin.post_filter(self, pod, diagnosis)
            if nomination.node:
                return nomination
            messages.append(nomination.message)
            keeps = keeps or nomination.keeps
        message = ", ".join(text for text in messages if text)
        return Nomination(message=message, keeps=keeps) if messages else None


def _excluded_by(name: str) -> str:
    return f"node(s) didn't satisfy plugin(s) [{name}]"
