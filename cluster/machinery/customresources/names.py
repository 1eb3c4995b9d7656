"""Which names of a definition are accepted: each name belongs to one definition of its group.

Follows apiextensions' naming controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.machinery import meta
from cluster.machinery.customresources.definition import ESTABLISHED, NAMES_ACCEPTED

Object = dict[str, Any]
APPROVAL = "api-approved.kubernetes.io"
POLICY_URL = "https://github.com/kubernetes/enhancements/pull/1111"
APPROVED_CONDITION = "KubernetesAPIApprovalPolicyConformant"


def decide(crd: Object, others: Iterable[Object], now_s: float) -> Object:
    """The status that the definition should have now; `others` are all other definitions."""
    changed = {**crd, "status": _copied_status(crd)}
    rivals = [o for o in others if o["spec"]["group"] == crd["spec"]["group"]]
    accepted, conflict = _accepted(crd, rivals)
    changed["status"]["acceptedNames"] = accepted
    meta.set_condition(changed, _names_condition(conflict), now_s)
    established = _established(crd, conflict)
    if established is not None:
        meta.set_condition(changed, established, now_s)
    approved = approval(crd)
    if approved is not None:
        meta.set_condition(changed, approved, now_s)
    status: Object = changed["status"]
    return status


def _copied_status(crd: Object) -> Object:
    status = dict(crd.get("status") or {})
    status["conditions"] = [dict(c) for c in status.get("conditions") or ()]
    return status


def _taken(rivals: Sequence[Object]) -> tuple[set[str], set[str]]:
    """(resource names, kinds) that the others have been given."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in rivals:
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources |= {names.get("plural", ""), names.get("singular", "")}
        resources |= set(names.get("shortNames") or ())
        kinds |= {names.get("kind", ""), names.get("listKind", "")}
    return resources - {""}, kinds - {""}


def _accepted(crd: Object, rivals: Sequence[Object]) -> tuple[Object, tuple[str, str]]:
    """(the accepted names, (reason, message) of a conflict or empty text)."""
    resources, kinds = _taken(rivals)
    wanted = crd["spec"]["names"]
    accepted = dict((crd.get("status") or {}).get("acceptedNames") or {})
    conflicts: list[tuple[str, str]] = []
    for name, taken, reason in (
        ("plural", resources, "PluralConflict"),
        ("singular", resources, "SingularConflict"),
        ("shortNames", resources, "ShortNamesConflict"),
        ("kind", kinds, "KindConflict"),
        ("listKind", kinds, "ListKindConflict"),
    ):
        value = wanted.get(name)
        in_use = sorted(set(value if isinstance(value, list) else [value]) & taken)
        if in_use:
            conflicts += [(reason, f'"{each}" is already in use') for each in in_use]
        elif value:
            accepted[name] = value
        else:
            accepted.pop(name, None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    else:
        accepted.pop("categories", None)
    return {"plural": "", "kind": "", **accepted}, conflicts[0] if conflicts else ("", "")


def _names_condition(conflict: tuple[str, str]) -> Object:
    reason, message = conflict
    return {
        "type": NAMES_ACCEPTED,
        "status": "False" if reason else "True",
        "reason": reason or "NoConflicts",
        "message": message or "no conflicts found",
    }


def _established(crd: Object, conflict: tuple[str, str]) -> Object | None:
    """Established once, a definition stays so: its objects are in use."""
    if meta.condition_is(crd, ESTABLISHED):
        return None
    accepted = not conflict[0]
    return {
        "type": ESTABLISHED,
        "status": "True" if accepted else "False",
        "reason": "InitialNamesAccepted" if accepted else "NotAccepted",
        "message": "the initial names have been accepted"
        if accepted
        else "not all names are accepted",
    }


def is_protected(group: str) -> bool:
    """Groups of the Kubernetes project itself (KEP-1111)."""
    return any(group == g or group.endswith(f".{g}") for g in ("k8s.io", "kubernetes.io"))


def approval(crd: Object) -> Object | None:
    """The condition of definitions in protected groups; None for others."""
    if not is_protected(crd["spec"]["group"]):
        return None
    note = (crd["metadata"].get("annotations") or {}).get(APPROVAL, "")
    found = {"type": APPROVED_CONDITION, "status": "False", "reason": "ErrorParsingAnnotation"}
    if note.startswith("unapproved"):
        return found | {"reason": "UnapprovedAnnotation",
                        "message": f'not approved: "{note}"'}  # fmt: skip
    if note.startswith(("http://", "https://")):
        return found | {"status": "True", "reason": "ApprovedAnnotation",
                        "message": f"approved in {note}"}  # fmt: skip
    must = f'protected groups must have approval annotation "{APPROVAL}"'
    if not note:
        return found | {"reason": "MissingAnnotation", "message": f"{must}, see {POLICY_URL}"}
    text = f'{must} with either a URL or a reason starting with "unapproved"'
    return found | {"message": text}
