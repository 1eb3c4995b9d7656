"""NodeAffinity: nodeSelector, required terms (filter) and preferred terms (score)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import orjson

from cluster.scheduler.columns import Columns, Mask, View
from cluster.scheduler.framework import (
    FilterPlugin,
    Only,
    PreFilterPlugin,
    Refused,
    Rejection,
    Scope,
    ScorePlugin,
    Scores,
    normalized,
)
from cluster.scheduler.framework.events import events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.node_selector import any_term, has_labels, term_holds

Object = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class NodeAffinity(PreFilterPlugin, FilterPlugin, ScorePlugin):
    """Arguments: addedAffinity, a NodeAffinity that holds for every pod of the profile."""

    name = "NodeAffinity"
    events = events(nodes="add update")
    scope = Scope.NODE
    normalizes = True

    def __init__(self, added: Object | None = None) -> None:
        self._added = added or {}

    def signature(self, pod: PodInfo) -> Hashable:
        selector, affinity = pod.spec.get("nodeSelector"), _affinity(pod)
        return orjson.dumps((selector, affinity)) if selector or affinity else b""

    def pre_filter(self, columns: Columns, pod: PodInfo) -> Refused | Only | None:
        """Pods that ask for nodes by name (those of DaemonSets) are tried on these only."""
        terms = (_affinity(pod).get(REQUIRED) or {}).get("nodeSelectorTerms") or ()
        chosen: set[str] = set()
        for term in terms:
            names = _names(term)
            if names is None:
                return None
            chosen |= names
        if not terms:
            return None
        return Only(frozenset(chosen)) if chosen else Refused("pod affinity terms conflict")

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        selects = pod.spec.get("nodeSelector") or _affinity(pod).get(REQUIRED)
        return bool(selects or self._added.get(REQUIRED))

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        if required := self._added.get(REQUIRED):
            enforced = any_term(view, required.get("nodeSelectorTerms") or ())
            reason = "node(s) didn't match scheduler-enforced node affinity"
            yield Rejection(~enforced, reason, resolvable=False)
        else:
            enforced = view.all()
        reason = "node(s) didn't match Pod's node affinity/selector"
        yield Rejection(enforced & ~required_nodes(view, pod), reason, resolvable=False)

    def scores(self, pod: PodInfo, columns: Columns) -> bool:
        return bool(_affinity(pod).get(PREFERRED) or self._added.get(PREFERRED))

    def score(self, view: View, pod: PodInfo, feasible: Mask) -> Scores:
        raw: Scores = np.zeros(len(view), np.int64)
        added = self._added.get(PREFERRED) or ()
        for entry in (*(_affinity(pod).get(PREFERRED) or ()), *added):
            raw += int(entry["weight"]) * term_holds(view, entry["preference"])
        return raw

    def normalize(self, raw: Scores, feasible: Mask) -> Scores:
        return normalized(raw, feasible)


def required_nodes(view: View, pod: PodInfo) -> Mask:
    """Nodes that the pod's selector and required terms allow."""
    fits = has_labels(view, pod.spec.get("nodeSelector"))
    required = _affinity(pod).get(REQUIRED)
    if required is not None:
        fits &= any_term(view, required.get("nodeSelectorTerms") or ())
    return fits


def _affinity(pod: PodInfo) -> Object:
    return (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}


def _names(term: Object) -> set[str] | None:
    """Nodes that a term names; None if it does not name any."""
    found: set[str] | None = None
    for field in term.get("matchFields") or ():
        if field["key"] == "metadata.name" and field["operator"] == "In":
            values = set(field.get("values") or ())
            found = values if found is None else found & values
    return found
