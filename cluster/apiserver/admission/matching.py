"""Which writes a registered webhook or policy is about: rules, scopes and selectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.apiserver.admission.versions import FindNamespace, Versions
from cluster.machinery import selectors, status
from cluster.machinery.resources import Resource
from cluster.machinery.selectors import LabelSelector

Object = dict[str, Any]
GROUP = "admissionregistration.k8s.io"
EXEMPT = frozenset(
    {
        "validatingwebhookconfigurations", "mutatingwebhookconfigurations",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
    }
)  # fmt: skip
"""What nobody may intercept: a wrong registration could not be taken back."""


def exempt(resource: Resource) -> bool:
    return resource.group == GROUP and resource.plural in EXEMPT


@dataclass(frozen=True)
class Matcher:
    """`rules` are RuleWithOperations, or NamedRuleWithOperations with resourceNames."""

    rules: Sequence[Mapping[str, Any]]
    excluded: Sequence[Mapping[str, Any]]
    namespaces: LabelSelector
    objects: LabelSelector
    equivalent: bool

    async def match(self, review: Review, versions: Versions) -> Resource | None:
        """The version of the review's resource that is asked for; None if it is not.

        Raises 404 if the namespace, whose labels are asked for, is not there.
        """
        if any(_rule(rule, review, review.resource) for rule in self.excluded):
            return None
        found = self._resource(review, versions)
        if found is None or not self._objects(review):
            return None
        return found if await self._namespaces(review, versions.find_namespace) else None

    def _resource(self, review: Review, versions: Versions) -> Resource | None:
        """The version asked for; another one if none is, by the first rule that has one."""
        if any(_rule(rule, review, review.resource) for rule in self.rules):
            return review.resource
        others = versions.equivalents(review.resource) if self.equivalent else ()
        for rule in self.rules if others else ():
            for form in others:
                if _rule(rule, review, form):
                    return form
        return None

    def _objects(self, review: Review) -> bool:
        if self.objects.empty:
            return True
        found = (each for each in (review.new, review.old) if each is not None)
        return any(
            self.objects.matches((each.get("metadata") or {}).get("labels") or {}) for each in found
        )

    async def _namespaces(self, review: Review, find: FindNamespace) -> bool:
        if self.namespaces.empty:
            return True
        if _is_namespace(review.resource):
            obj = review.new or review.old
            if obj is None or review.subresource:
                obj = await find(review.name)
        elif not review.namespace:
            return True
        else:
            obj = await find(review.namespace)
        if obj is None:
            raise status.not_found("namespaces", review.namespace or review.name)
        return self.namespaces.matches(obj["metadata"].get("labels") or {})


def matcher(raw: Mapping[str, Any], rules: str = "rules", excluded: str = "") -> Matcher:
    """From a webhook, or from MatchResources with the names of its fields."""
    return Matcher(
        raw.get(rules) or (),
        raw.get(excluded) or (),
        selectors.from_object(raw.get("namespaceSelector") or {}),
        selectors.from_object(raw.get("objectSelector") or {}),
        raw.get("matchPolicy", "Equivalent") == "Equivalent",
    )


def _is_namespace(resource: Resource) -> bool:
    return resource.plural == "namespaces" and not resource.group


def _rule(rule: Mapping[str, Any], review: Review, form: Resource) -> bool:
    names = rule.get("resourceNames")
    return (
        _has(rule.get("operations"), review.operation.upper())
        and _has(rule.get("apiGroups"), form.group)
        and _has(rule.get("apiVersions"), form.version)
        and _has_resource(rule.get("resources") or (), form.plural, review.subresource)
        and _in_scope(rule.get("scope") or "*", review)
        and (not names or review.name in names)
    )


def _has(patterns: Sequence[str] | None, value: str) -> bool:
    return any(pattern in ("*", value) for pattern in patterns or ())


def _has_resource(patterns: Sequence[str], plural: str, subresource: str) -> bool:
    for pattern in patterns:
        resource, _, below = pattern.partition("/")
        if resource in ("*", plural) and below in ("*", subresource):
            return True
    return False


def _in_scope(scope: str, review: Review) -> bool:
    within = bool(review.namespace) and not _is_namespace(review.resource)
    return scope == "*" or (scope == "Namespaced") == within
