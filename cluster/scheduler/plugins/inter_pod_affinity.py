"""InterPodAffinity: near some pods, away from others; both the pod's own terms and theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from cluster.scheduler.columns import Columns, Mask, Numbers, View
from cluster.scheduler.columns.census import Question
from cluster.scheduler.columns.table import Column
from cluster.scheduler.framework import MAX_SCORE, FilterPlugin, Rejection, ScorePlugin, Scores
from cluster.scheduler.framework.events import ClusterEvent, events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.model.terms import Term
from cluster.scheduler.plugins.domains import per_domain, spread_out

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"


class InterPodAffinity(FilterPlugin, ScorePlugin):
    """Arguments: hardPodAffinityWeight, ignorePreferredTermsOfExistingPods."""

    name = "InterPodAffinity"
    events = events(nodes="add update", pods="add update delete")
    normalizes = True

    def __init__(self, hard_weight: int = 1, ignore_existing_preferred: bool = False) -> None:
        self._hard_weight = hard_weight
        self._ignore_existing_preferred = ignore_existing_preferred

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        own = pod.affinity
        return bool(own.required or own.required_anti or _objections(columns, pod))

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        columns, left = view.columns, view.all()
        if pod.affinity.required:
            near = view.take(_near(columns, pod))
            yield Rejection(~near, AFFINITY, resolvable=False)
            left &= near
        if pod.affinity.required_anti:
            wrong = view.take(_around(columns, pod.affinity.required_anti))
            yield Rejection(wrong & left, ANTI_AFFINITY)
            left &= ~wrong
        if theirs := _objections(columns, pod):
            yield Rejection(view.take(_kept_off(columns, theirs)) & left, EXISTING)

    def scores(self, pod: PodInfo, columns: Columns) -> bool:
        if pod.affinity.preferred:
            return True
        owners = columns.owners
        return not self._ignore_existing_preferred and bool(owners.preferred or owners.required)

    def score(self, view: View, pod: PodInfo, feasible: Mask) -> Scores:
        """Sum of the weights of all terms that speak for the node's domains, less those against."""
        columns = view.columns
        total: Scores = np.zeros(len(columns), np.int64)
        for own in pod.affinity.preferred:
            counts = columns.count(Question((own.term.pods,)))
            total += own.weight * _over(columns, own.term, counts)
        for theirs, column in columns.owners.preferred.items():
            if columns.census.means(theirs.term.pods, pod):
                total += theirs.weight * _over(columns, theirs.term, _counts(columns, column))
        if self._hard_weight:
            total += self._hard_weight * _owned(columns, columns.owners.required, pod)
        return view.take(total)

    def normalize(self, raw: Scores, feasible: Mask) -> Scores:
        """Lowest feasible becomes 0, highest 100; in floating point as upstream, cut off."""
        low = int(raw.min(where=feasible, initial=np.iinfo(np.int64).max))
        span = int(raw.max(where=feasible, initial=np.iinfo(np.int64).min)) - low
        if span <= 0:
            return np.zeros(len(raw), np.int64)
        return (MAX_SCORE * ((raw - low) / span)).astype(np.int64)

    def helps(self, pod: PodInfo, event: ClusterEvent, columns: Columns) -> bool:
        """A pod that is wanted nearby came; one in the way, or that objects, went."""
        if event.is_("nodes", "add", "update"):
            return True
        if event.resource != "pods":
            return False
        other, means = event.pod, columns.census.means
        comes = event.kind in ("add", "update")
        if comes and any(means(term.pods, other) for term in pod.affinity.required):
            return True
        goes = event.kind in ("delete", "update")
        in_the_way = any(means(term.pods, other) for term in pod.affinity.required_anti)
        objects = any(means(term.pods, pod) for term in other.affinity.required_anti)
        return goes and (in_the_way or objects)


def _objections(columns: Columns, pod: PodInfo) -> list[Term]:
    """Terms of pods that do not want this one near them."""
    return [t for t in columns.owners.required_anti if columns.census.means(t.pods, pod)]


def _near(columns: Columns, pod: PodInfo) -> Mask:
    """Nodes in whose domain, for every term, a pod is that matches all terms.

    The first of a group of pods that are to be together goes anywhere that has the labels.
    """
    terms = pod.affinity.required
    counts = columns.count(Question(tuple(term.pods for term in terms)))
    result, labelled = (np.ones(len(columns), np.bool_) for _ in range(2))
    found = False
    for term in terms:
        domains = _over(columns, term, counts)
        result &= domains > 0
        labelled &= View(columns).has_label(term.topology_key)
        found = found or bool(domains.any())
    if not found and all(columns.census.means(term.pods, pod) for term in terms):
        return labelled
    return result


def _around(columns: Columns, terms: Iterable[Term]) -> Mask:
    """Nodes in a domain of a pod that one of the terms means."""
    result = np.zeros(len(columns), np.bool_)
    for term in terms:
        result |= _over(columns, term, columns.count(Question((term.pods,)))) > 0
    return result


def _kept_off(columns: Columns, terms: Iterable[Term]) -> Mask:
    """Nodes in a domain of a pod that has one of these terms."""
    result = np.zeros(len(columns), np.bool_)
    for term in terms:
        column = columns.owners.required_anti[term]
        result |= _over(columns, term, _counts(columns, column)) > 0
    return result


def _owned(columns: Columns, owners: Mapping[Term, Column], pod: PodInfo) -> Scores:
    """Per node, how many pods of its domains have a term that means `pod`."""
    total: Scores = np.zeros(len(columns), np.int64)
    for term, column in owners.items():
        if columns.census.means(term.pods, pod):
            total += _over(columns, term, _counts(columns, column))
    return total


def _counts(columns: Columns, column: Column) -> Numbers:
    counts: Numbers = column.array[: len(columns)]
    return counts


def _over(columns: Columns, term: Term, counts: Numbers) -> Numbers:
    """From counts per node to those of the node's whole domain; 0 without the label."""
    domain = View(columns).values(term.topology_key)
    return spread_out(per_domain(domain, counts), domain)
