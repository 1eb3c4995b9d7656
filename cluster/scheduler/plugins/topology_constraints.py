"""A pod's topology spread constraints, parsed: its own, or the defaults for its owner's pods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machinery import meta, selectors
from cluster.machinery.selectors import LabelSelector, Requirement
from cluster.scheduler.columns.catalog import Catalog
from cluster.scheduler.columns.census import Question
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.model.terms import in_namespace, with_keys

Object = dict[str, Any]
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
HARD, SOFT = "DoNotSchedule", "ScheduleAnyway"
SYSTEM_DEFAULTS: Sequence[Object] = (
    {"maxSkew": 3, "topologyKey": HOSTNAME, "whenUnsatisfiable": SOFT},
    {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": SOFT},
)


@dataclass(frozen=True)
class Constraint:
    key: str
    max_skew: int
    min_domains: int
    question: Question
    matches_itself: bool
    honors_affinity: bool
    honors_taints: bool


def constraints_of(
    pod: PodInfo, when: str, given: Iterable[Object], selector: LabelSelector | None = None
) -> list[Constraint]:
    """Those with that `whenUnsatisfiable`; `selector` stands in for that of defaults."""
    return [_constraint(pod, c, selector) for c in given if c["whenUnsatisfiable"] == when]


def _constraint(pod: PodInfo, given: Object, selector: LabelSelector | None) -> Constraint:
    if selector is None:
        own = selectors.from_object(given.get("labelSelector"))
        selector = with_keys(own, pod.labels, given.get("matchLabelKeys") or ())
    return Constraint(
        given["topologyKey"],
        int(given["maxSkew"]),
        int(given.get("minDomains") or 1),
        Question((in_namespace(pod.namespace, selector),), living=True),
        selector.matches(pod.labels),
        (given.get("nodeAffinityPolicy") or "Honor") == "Honor",
        (given.get("nodeTaintsPolicy") or "Ignore") == "Honor",
    )


OWNERS = {
    "ReplicaSet": "replicasets.apps",
    "ReplicationController": "replicationcontrollers",
    "StatefulSet": "statefulsets.apps",
}


def default_selector(pod: PodInfo, catalog: Catalog) -> LabelSelector | None:
    """All that the pod's Services and its controller select by; None if there is neither."""
    requirements: list[Requirement] = []
    for service in catalog.in_namespace("services", pod.namespace):
        chosen = selectors.from_labels(service["spec"].get("selector"))
        if chosen.matches(pod.labels):
            requirements += chosen.requirements
    owner = meta.controller_of(pod.pod)
    if owner is not None and owner["kind"] in OWNERS:
        found = catalog.get(OWNERS[owner["kind"]], f"{pod.namespace}/{owner['name']}")
        requirements += _selector_of(found).requirements if found else ()
    return LabelSelector(tuple(dict.fromkeys(requirements))) if requirements else None


def _selector_of(owner: Object) -> LabelSelector:
    chosen = owner["spec"].get("selector")
    if owner["kind"] == "ReplicationController":
        return selectors.from_labels(chosen)
    return selectors.from_object(chosen)
