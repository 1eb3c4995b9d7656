"""What may be used only where a quota allows it: limitedResources of the plugin's configuration.

As upstream's ResourceQuotaConfiguration: entries name a resource (apiGroup, resource), what of its
usage is limited (matchContains: parts of names), and scopes (matchScopes) that are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.machinery.quota import scopes, usage
from cluster.machinery.resources import Resource

Object = dict[str, Any]
Limited = Sequence[Mapping[str, Any]]


def uncovered(limited: Limited, resource: Resource, obj: Object, quotas: Iterable[Object]) -> str:
    """Why the object may not be created with these quotas; "" if it may."""
    entries = [e for e in limited if _concerns(e, resource)]
    if not entries:
        return ""
    counting = [quota for quota in quotas if scopes.counts(quota, resource, obj)]
    names = _names(entries, usage.of(resource, obj))
    for quota in counting:
        names -= set((quota.get("spec") or {}).get("hard") or ())
    if names:
        return f"insufficient quota to consume: {','.join(sorted(names))}"
    open_ = [t for e in entries for t in _scopes(e, resource, obj) if not _covered(t, counting)]
    if open_:
        shown = " ".join(
            f"{{{t['scopeName']} {t.get('operator', '')} [{' '.join(t.get('values') or ())}]}}"
            for t in open_
        )
        return f"insufficient quota to match these scopes: [{shown}]"
    return ""


def _concerns(entry: Mapping[str, Any], resource: Resource) -> bool:
    named = (entry.get("apiGroup") or "", entry.get("resource"))
    return named == (resource.group, resource.plural)


def _names(entries: Limited, used: Mapping[str, int]) -> set[str]:
    parts = [part for entry in entries for part in entry.get("matchContains") or ()]
    return {name for name, amount in used.items() if amount and any(p in name for p in parts)}


def _scopes(entry: Mapping[str, Any], resource: Resource, obj: Object) -> list[Mapping[str, Any]]:
    """The limited scopes that the object is in."""
    terms = entry.get("matchScopes") or ()
    return [term for term in terms if scopes.counts(_quota_of(term), resource, obj)]


def _quota_of(term: Mapping[str, Any]) -> Object:
    return {"spec": {"scopeSelector": {"matchExpressions": [term]}}}


def _covered(term: Mapping[str, Any], quotas: Iterable[Object]) -> bool:
    """Whether a quota that counts the object is about this scope."""
    for quota in quotas:
        spec = quota.get("spec") or {}
        selected = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
        named = [*(spec.get("scopes") or ()), *(each["scopeName"] for each in selected)]
        if term["scopeName"] in named:
            return True
    return False
