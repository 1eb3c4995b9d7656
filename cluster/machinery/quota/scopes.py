"""Which objects a quota with scopes counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.machinery import qos
from cluster.machinery.resources import Resource

Object = dict[str, Any]
AFFINITIES = ("podAffinity", "podAntiAffinity")


def counts(quota: Object, resource: Resource, obj: Object) -> bool:
    """A quota without scopes counts everything; of the others most count pods only."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not terms:
        return True
    key = (resource.group, resource.plural)
    if key == ("", "pods"):
        return all(_pod(term, obj.get("spec") or {}) for term in terms)
    if key == ("", "persistentvolumeclaims"):
        return all(_claim(term, obj.get("spec") or {}) for term in terms)
    return False


def _pod(term: Mapping[str, Any], spec: Object) -> bool:
    match term["scopeName"]:
        case "Terminating":
            return (spec.get("activeDeadlineSeconds") or 0) > 0
        case "NotTerminating":
            return not (spec.get("activeDeadlineSeconds") or 0) > 0
        case "BestEffort":
            return qos.class_of(spec) == "BestEffort"
        case "NotBestEffort":
            return qos.class_of(spec) != "BestEffort"
        case "PriorityClass":
            return _selects(term, spec.get("priorityClassName") or "")
        case "CrossNamespacePodAffinity":
            return _crosses(spec.get("affinity") or {})
    return False


def _claim(term: Mapping[str, Any], spec: Object) -> bool:
    if term["scopeName"] != "VolumeAttributesClass":
        return False
    return _selects(term, spec.get("volumeAttributesClassName") or "")


def _selects(term: Mapping[str, Any], value: str) -> bool:
    values = term.get("values") or ()
    match term.get("operator"):
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
        case "In":
            return value in values
    return value not in values


def _crosses(affinity: Object) -> bool:
    """Whether a pod is placed by the pods of other namespaces."""
    for kind in AFFINITIES:
        found = affinity.get(kind) or {}
        terms = [*(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())]
        for weighted in found.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            terms.append(weighted.get("podAffinityTerm") or {})
        if any(t.get("namespaces") or t.get("namespaceSelector") is not None for t in terms):
            return True
    return False
