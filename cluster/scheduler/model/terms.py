"""Terms of pod (anti-)affinity: which pods are meant, and over which topology. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machinery import selectors
from cluster.machinery.selectors import EVERYTHING, LabelSelector, Requirement

Object = dict[str, Any]
Labels = Mapping[str, str]
Namespaces = Mapping[str, Labels]
"""The labels of every namespace, by its name."""


@dataclass(frozen=True, slots=True)
class Pods:
    """Which pods: by labels, in namespaces that are named or selected."""

    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None = None

    def match(self, namespace: str, labels: Labels, known: Namespaces) -> bool:
        return self.selector.matches(labels) and self._covers(namespace, known)

    def _covers(self, namespace: str, known: Namespaces) -> bool:
        if namespace in self.namespaces:
            return True
        chosen = self.namespace_selector
        if chosen is None:
            return False
        return chosen.empty or (namespace in known and chosen.matches(known[namespace]))


@dataclass(frozen=True, slots=True)
class Term:
    pods: Pods
    topology_key: str


@dataclass(frozen=True, slots=True)
class Weighted:
    """A preferred term; anti-affinity has a negative weight."""

    term: Term
    weight: int


@dataclass(frozen=True, slots=True)
class Affinity:
    """Of one pod, both kinds."""

    required: tuple[Term, ...] = ()
    required_anti: tuple[Term, ...] = ()
    preferred: tuple[Weighted, ...] = ()

    @classmethod
    def of(cls, pod: Object) -> Affinity:
        given = (pod.get("spec") or {}).get("affinity") or {}
        towards, away = given.get("podAffinity"), given.get("podAntiAffinity")
        if not towards and not away:
            return NO_AFFINITY
        return cls(
            tuple(_required(pod, towards or {})),
            tuple(_required(pod, away or {})),
            (*_preferred(pod, towards or {}, 1), *_preferred(pod, away or {}, -1)),
        )


NO_AFFINITY = Affinity()


def _required(pod: Object, given: Object) -> Iterable[Term]:
    for term in given.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
        yield term_of(pod, term)


def _preferred(pod: Object, given: Object, sign: int) -> Iterable[Weighted]:
    for entry in given.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
        yield Weighted(term_of(pod, entry["podAffinityTerm"]), sign * int(entry["weight"]))


def term_of(pod: Object, term: Object) -> Term:
    """Without namespaces and a namespace selector, the pod's own namespace is meant."""
    metadata = pod["metadata"]
    names = frozenset(term.get("namespaces") or ())
    chosen = term.get("namespaceSelector")
    if not names and chosen is None:
        names = frozenset([metadata.get("namespace", "")])
    selector = with_keys(
        selectors.from_object(term.get("labelSelector")),
        metadata.get("labels") or {},
        term.get("matchLabelKeys") or (),
        term.get("mismatchLabelKeys") or (),
    )
    by_labels = None if chosen is None else selectors.from_object(chosen)
    return Term(Pods(selector, names, by_labels), term["topologyKey"])


def with_keys(
    selector: LabelSelector, labels: Labels, match: Sequence[str], mismatch: Sequence[str] = ()
) -> LabelSelector:
    """Narrowed to pods that have (or do not have) the pod's own values of these labels."""
    more = [Requirement(key, "in", (labels[key],)) for key in match if key in labels]
    more += [Requirement(key, "notin", (labels[key],)) for key in mismatch if key in labels]
    if selector.nothing or not more:
        return selector
    return LabelSelector((*selector.requirements, *more))


def in_namespace(namespace: str, selector: LabelSelector = EVERYTHING) -> Pods:
    return Pods(selector, frozenset([namespace]))
