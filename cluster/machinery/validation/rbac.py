"""Roles and bindings."""

from __future__ import annotations

from cluster.machinery.validation import formats, selectors
from cluster.machinery.validation.field import Errors, Object

GROUP = "rbac.authorization.k8s.io"


def validate_role(obj: Object, errors: Errors) -> None:
    """Rules of a namespace."""
    for at, rule in enumerate(obj.get("rules") or ()):
        _rule(rule, True, f"rules[{at}]", errors)


def validate_cluster_role(obj: Object, errors: Errors) -> None:
    """Rules of the cluster, or which others are gathered."""
    for at, rule in enumerate(obj.get("rules") or ()):
        _rule(rule, False, f"rules[{at}]", errors)
    aggregation = obj.get("aggregationRule")
    if aggregation is None:
        return
    found = aggregation.get("clusterRoleSelectors") or []
    if not found:
        text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        errors.required("aggregationRule.clusterRoleSelectors", text)
    for at, selector in enumerate(found):
        selectors.validate(selector, f"aggregationRule.clusterRoleSelectors[{at}]", errors)


def _rule(rule: Object, namespaced: bool, path: str, errors: Errors) -> None:
    if not rule.get("verbs"):
        errors.required(f"{path}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            errors.invalid(f"{path}.nonResourceURLs", urls, text)
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            errors.invalid(f"{path}.nonResourceURLs", urls, text)
        return
    if not rule.get("apiGroups"):
        errors.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        errors.required(f"{path}.resources", "resource rules must supply at least one resource")


def validate_role_binding(obj: Object, errors: Errors) -> None:
    """A role of the namespace or the cluster."""
    _binding(obj, ("ClusterRole", "Role"), errors)


def validate_cluster_role_binding(obj: Object, errors: Errors) -> None:
    """A role of the cluster."""
    _binding(obj, ("ClusterRole",), errors)


def _binding(obj: Object, kinds: tuple[str, ...], errors: Errors) -> None:
    role = obj.get("roleRef") or {}
    if role.get("apiGroup") != GROUP:
        errors.not_supported("roleRef.apiGroup", role.get("apiGroup", ""), (GROUP,))
    if role.get("kind") not in kinds:
        errors.not_supported("roleRef.kind", role.get("kind", ""), kinds)
    if not role.get("name"):
        errors.required("roleRef.name")
    else:
        errors.all_invalid("roleRef.name", role["name"], formats.path_segment(role["name"]))
    for at, subject in enumerate(obj.get("subjects") or ()):
        _subject(subject, f"subjects[{at}]", errors)


def _subject(subject: Object, path: str, errors: Errors) -> None:
    kind, group = subject.get("kind"), subject.get("apiGroup") or ""
    if not subject.get("name"):
        errors.required(f"{path}.name")
    if kind == "ServiceAccount":
        if group:
            errors.not_supported(f"{path}.apiGroup", group, ("",))
        if not subject.get("namespace"):
            errors.required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != GROUP:
            errors.not_supported(f"{path}.apiGroup", group, (GROUP,))
    else:
        supported = ("Group", "ServiceAccount", "User")
        errors.not_supported(f"{path}.kind", kind or "", supported)


def validate_binding_update(new: Object, old: Object, errors: Errors) -> None:
    """Who may do what changes; what they may, does not."""
    if new.get("roleRef") != old.get("roleRef"):
        errors.invalid("roleRef", new.get("roleRef"), "cannot change roleRef")
