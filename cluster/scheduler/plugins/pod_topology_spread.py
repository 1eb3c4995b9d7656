"""PodTopologySpread: pods of a kind are spread evenly over zones, hosts or other domains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cluster.machinery import selectors
from cluster.scheduler.columns import Columns, Mask, Numbers, View
from cluster.scheduler.framework import MAX_SCORE, FilterPlugin, Rejection, ScorePlugin, Scores
from cluster.scheduler.framework.events import ClusterEvent, events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.domains import per_domain, present, spread_out
from cluster.scheduler.plugins.node_affinity import required_nodes
from cluster.scheduler.plugins.taint_toleration import first_untolerated
from cluster.scheduler.plugins.topology_constraints import (
    HARD,
    HOSTNAME,
    SOFT,
    SYSTEM_DEFAULTS,
    Constraint,
    constraints_of,
    default_selector,
)

Object = dict[str, Any]
REASON = "node(s) didn't match pod topology spread constraints"


class PodTopologySpread(FilterPlugin, ScorePlugin):
    """Arguments: defaultConstraints (the system's unless given)."""

    name = "PodTopologySpread"
    events = events(nodes="add update delete", pods="add update delete")
    normalizes = True

    def __init__(self, defaults: Sequence[Object] | None = None) -> None:
        self._system = defaults is None
        self._defaults = SYSTEM_DEFAULTS if defaults is None else defaults

    def _constraints(self, columns: Columns, pod: PodInfo, when: str) -> list[Constraint]:
        own = pod.spec.get("topologySpreadConstraints") or ()
        if own:
            return constraints_of(pod, when, own)
        if not any(c["whenUnsatisfiable"] == when for c in self._defaults):
            return []
        selector = default_selector(pod, columns.catalog)
        return [] if selector is None else constraints_of(pod, when, self._defaults, selector)

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        return bool(self._constraints(columns, pod, HARD))

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        columns = view.columns
        constraints = self._constraints(columns, pod, HARD)
        left, eligible = view.all(), _labelled(columns, constraints)
        for constraint in constraints:
            unlabelled = ~view.has_label(constraint.key)
            reason = f"{REASON} (missing required label)"
            yield Rejection(unlabelled & left, reason, resolvable=False)
            skewed = view.take(_skewed(columns, pod, constraint, eligible)) & ~unlabelled
            yield Rejection(skewed & left, REASON)
            left &= ~(unlabelled | skewed)

    def scores(self, pod: PodInfo, columns: Columns) -> bool:
        return bool(self._constraints(columns, pod, SOFT))

    def score(self, view: View, pod: PodInfo, feasible: Mask) -> Scores:
        """Matching pods in the node's domains: fewer are better; -1 for nodes that do not count."""
        columns = view.columns
        constraints = self._constraints(columns, pod, SOFT)
        whole = bool(pod.spec.get("topologySpreadConstraints")) or not self._system
        labelled = _labelled(columns, constraints) if whole else np.ones(len(columns), np.bool_)
        total = np.zeros(len(columns))
        for constraint in constraints:
            total += _soft(columns, pod, constraint, feasible & labelled, labelled)
        return np.where(labelled, np.floor(total + 0.5), -1).astype(np.int64)[view.rows]

    def normalize(self, raw: Scores, feasible: Mask) -> Scores:
        """The emptiest domains get 100."""
        counted = feasible & (raw >= 0)
        if not counted.any():
            return np.zeros(len(raw), np.int64)
        low, high = int(raw[counted].min()), int(raw[counted].max())
        if high == 0:
            return np.where(raw >= 0, MAX_SCORE, 0)
        return np.where(raw >= 0, MAX_SCORE * (high + low - raw) // high, 0)

    def helps(self, pod: PodInfo, event: ClusterEvent, columns: Columns) -> bool:
        """A pod that counts came or went; a node with all labels came, changed or went."""
        own = pod.spec.get("topologySpreadConstraints") or self._defaults
        if event.resource == "nodes":
            labels = event.obj["metadata"].get("labels") or {}
            return all(c["topologyKey"] in labels for c in own)
        if event.resource != "pods":
            return False
        metadata = event.obj["metadata"]
        if metadata.get("namespace") != pod.namespace:
            return False
        chosen = (selectors.from_object(c.get("labelSelector")) for c in own)
        return any(selector.matches(metadata.get("labels")) for selector in chosen)


def _labelled(columns: Columns, constraints: Iterable[Constraint]) -> Mask:
    """Nodes that have the labels of all constraints: no others count."""
    result = np.ones(len(columns), np.bool_)
    for constraint in constraints:
        result &= View(columns).has_label(constraint.key)
    return result


def _included(columns: Columns, pod: PodInfo, constraint: Constraint) -> Mask:
    """Nodes that count by nodeAffinityPolicy and nodeTaintsPolicy."""
    view = View(columns)
    result = required_nodes(view, pod) if constraint.honors_affinity else view.all()
    if constraint.honors_taints:
        tolerations = pod.spec.get("tolerations") or ()
        fine = [first_untolerated(tolerations, taints) is None for taints in columns.taint_lists]
        result &= view.of_taints(np.array(fine, np.bool_))
    return result


def _skewed(columns: Columns, pod: PodInfo, constraint: Constraint, eligible: Mask) -> Mask:
    """Nodes in whose domain one more pod would be too many over the emptiest domain."""
    domain = View(columns).values(constraint.key)
    counted = eligible & _included(columns, pod, constraint)
    counts = np.where(counted, columns.count(constraint.question), 0)
    sums, exists = per_domain(domain, counts), present(domain, counted)
    few = int(np.count_nonzero(exists)) < constraint.min_domains
    least = 0 if few else int(sums[exists].min(initial=np.iinfo(np.int64).max))
    most = constraint.max_skew + least - constraint.matches_itself
    skewed: Mask = spread_out(sums, domain) > most
    return skewed


def _soft(
    columns: Columns, pod: PodInfo, constraint: Constraint, candidates: Mask, labelled: Mask
) -> Any:
    """One constraint's part of every node's score: matching pods, weighed by how many domains
    there are to choose from."""
    domain = View(columns).values(constraint.key)
    counts = columns.count(constraint.question)
    if constraint.key == HOSTNAME:
        size = int(np.count_nonzero(candidates))
        found: Numbers = counts
    else:
        exists = present(domain, candidates)
        size = int(np.count_nonzero(exists)) + bool((candidates & (domain == 0)).any())
        counted = labelled & _included(columns, pod, constraint)
        sums = per_domain(domain, np.where(counted, counts, 0))
        found = spread_out(np.where(exists, sums, 0), domain)
    value = found * np.log(size + 2) + (constraint.max_skew - 1)
    return np.where(domain > 0, value, 0.0)
