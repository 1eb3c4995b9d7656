"""Defaults of webhooks, admission policies, flow control, API services and devices."""

from __future__ import annotations

from typing import Any

from cluster.machinery.defaulting.values import Object, default, default_zero, items, part

WEBHOOK_TIMEOUT_S = 10
HTTPS_PORT = 443


def _selectors(obj: Object) -> None:
    for name in ("namespaceSelector", "objectSelector"):
        if obj.get(name) is None:
            obj[name] = {}
    default(obj, "matchPolicy", "Equivalent")


def _rules(rules: list[Object]) -> None:
    for rule in rules:
        default(rule, "scope", "*")


def _service(holder: Any) -> None:
    service = (holder or {}).get("service")
    if service is not None:
        default(service, "port", HTTPS_PORT)


def apply_webhooks(obj: Object) -> None:
    """Equivalent requests of any scope, ten seconds, and failure refuses."""
    for webhook in items(obj, "webhooks"):
        _selectors(webhook)
        default(webhook, "failurePolicy", "Fail")
        default(webhook, "timeoutSeconds", WEBHOOK_TIMEOUT_S)
        if obj["kind"] == "MutatingWebhookConfiguration":
            default(webhook, "reinvocationPolicy", "Never")
        _rules(items(webhook, "rules"))
        _service(webhook.get("clientConfig"))


def _match_resources(match: Object) -> None:
    _selectors(match)
    _rules(items(match, "resourceRules"))
    _rules(items(match, "excludeResourceRules"))


def apply_admission_policy(obj: Object) -> None:
    """Failure refuses."""
    spec = part(obj, "spec")
    default(spec, "failurePolicy", "Fail")
    if spec.get("matchConstraints") is not None:
        _match_resources(spec["matchConstraints"])


def apply_admission_policy_binding(obj: Object) -> None:
    """What the policy matches."""
    match = part(obj, "spec").get("matchResources")
    if match is not None:
        _match_resources(match)


def apply_flow_schema(obj: Object) -> None:
    """Precedence 1000."""
    default_zero(part(obj, "spec"), "matchingPrecedence", 1000)


def apply_priority_level(obj: Object) -> None:
    """Thirty shares, nothing lent; queues of fifty where there are queues."""
    spec = part(obj, "spec")
    if spec.get("type") == "Exempt":
        exempt = part(spec, "exempt")
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)
    limited = spec.get("limited")
    if limited is None:
        return
    limited.setdefault("nominalConcurrencyShares", 30)
    limited.setdefault("lendablePercent", 0)
    queuing = (limited.get("limitResponse") or {}).get("queuing")
    if queuing is not None:
        default_zero(queuing, "handSize", 8)
        default_zero(queuing, "queues", 64)
        default_zero(queuing, "queueLengthLimit", 50)


def apply_api_service(obj: Object) -> None:
    """HTTPS."""
    _service(part(obj, "spec"))


def _requests(spec: Object) -> None:
    for request in items(spec.get("devices") or {}, "requests"):
        for exact in [request.get("exactly"), *items(request, "firstAvailable")]:
            if exact is None:
                continue
            default(exact, "allocationMode", "ExactCount")
            if exact["allocationMode"] == "ExactCount":
                default_zero(exact, "count", 1)
            for toleration in items(exact, "tolerations"):
                default(toleration, "operator", "Equal")


def apply_resource_claim(obj: Object) -> None:
    """One device a request."""
    _requests(part(obj, "spec"))


def apply_resource_claim_template(obj: Object) -> None:
    """As a claim."""
    _requests(part(part(obj, "spec"), "spec"))
