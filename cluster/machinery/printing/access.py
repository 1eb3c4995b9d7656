"""Rows of who may do what: roles' bindings, signing requests, admission, flow control."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.printing.columns import AGE, NAME, NONE, Cells, Column, Printer
from cluster.machinery.printing.duration import age, human
from cluster.machinery.printing.volumes import UNSET


def _binding(obj: meta.Object, now_s: float) -> Cells:
    role = obj.get("roleRef") or {}
    return [
        obj["metadata"]["name"],
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age(obj, now_s),
        *(_subjects(obj, kind) for kind in ("User", "Group", "ServiceAccount")),
    ]


def _subjects(obj: meta.Object, kind: str) -> str:
    found = [s for s in obj.get("subjects") or [] if s.get("kind") == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{s.get('namespace', '')}/{s.get('name', '')}" for s in found)
    return ", ".join(s.get("name", "") for s in found)


def _signing_request(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    seconds = spec.get("expirationSeconds")
    types = [c.get("type") for c in status.get("conditions") or []]
    words = [w for w in ("Denied", "Approved") if w in types][:1] or ["Pending"]
    words += ["Failed"] * ("Failed" in types) + ["Issued"] * bool(status.get("certificate"))
    return [
        obj["metadata"]["name"],
        age(obj, now_s),
        spec.get("signerName") or NONE,
        spec.get("username") or "",
        NONE if seconds is None else human(seconds),
        ",".join(words),
    ]


def _webhooks(obj: meta.Object, now_s: float) -> Cells:
    return [obj["metadata"]["name"], len(obj.get("webhooks") or []), age(obj, now_s)]


def _policy(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    kind = spec.get("paramKind")
    return [
        obj["metadata"]["name"],
        len(spec.get("validations") or []),
        f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET,
        age(obj, now_s),
    ]


def _policy_binding(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"]["name"],
        spec.get("policyName", ""),
        _parameter(spec.get("paramRef")),
        age(obj, now_s),
    ]


def _parameter(reference: dict[str, Any] | None) -> str:
    if reference is None:
        return UNSET
    name = reference.get("name") or "*"
    return f"{reference['namespace']}/{name}" if reference.get("namespace") else str(name)


def _flow_schema(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    missing = (meta.condition(obj, "Dangling") or {}).get("status", "?")
    return [
        obj["metadata"]["name"],
        (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        spec.get("matchingPrecedence", 0),
        (spec.get("distinguisherMethod") or {}).get("type") or NONE,
        age(obj, now_s),
        missing,
    ]


def _priority_level(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    limited = spec.get("limited") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    numbers = [queuing.get(name, NONE) for name in ("queues", "handSize", "queueLengthLimit")]
    shares = limited.get("nominalConcurrencyShares", NONE)
    return [obj["metadata"]["name"], spec.get("type", ""), shares, *numbers, age(obj, now_s)]


def _api_service(obj: meta.Object, now_s: float) -> Cells:
    service = (obj.get("spec") or {}).get("service")
    available = meta.condition(obj, "Available") or {}
    state = str(available.get("status", "Unknown"))
    if state != "True" and available.get("reason"):
        state += f" ({available['reason']})"
    place = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    return [obj["metadata"]["name"], place, state, age(obj, now_s)]


_WEBHOOKS = Printer((NAME, Column("Webhooks", "integer"), AGE), _webhooks)
_BINDING = Printer(
    (NAME, Column("Role"), AGE, Column("Users", wide=True), Column("Groups", wide=True),
     Column("ServiceAccounts", wide=True)), _binding)  # fmt: skip

PRINTERS = {
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "certificatesigningrequests.certificates.k8s.io": Printer(
        (NAME, AGE, Column("SignerName"), Column("Requestor"), Column("RequestedDuration"),
         Column("Condition")), _signing_request),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": _WEBHOOKS,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": _WEBHOOKS,
    "validatingadmissionpolicies.admissionregistration.k8s.io": Printer(
        (NAME, Column("Validations", "integer"), Column("ParamKind"), AGE), _policy),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": Printer(
        (NAME, Column("PolicyName"), Column("ParamRef"), AGE), _policy_binding),
    "flowschemas.flowcontrol.apiserver.k8s.io": Printer(
        (NAME, Column("PriorityLevel"), Column("MatchingPrecedence", "integer"),
         Column("DistinguisherMethod"), AGE, Column("MissingPL")), _flow_schema),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": Printer(
        (NAME, Column("Type"), Column("NominalConcurrencyShares"), Column("Queues"),
         Column("HandSize"), Column("QueueLengthLimit"), AGE), _priority_level),
    "apiservices.apiregistration.k8s.io": Printer(
        (NAME, Column("Service"), Column("Available"), AGE), _api_service),
}  # fmt: skip
