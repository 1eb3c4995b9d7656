"""Webhook configurations, admission policies and flow control."""

from __future__ import annotations

from cluster.machinery.validation import formats, selectors, webhook_clients
from cluster.machinery.validation.field import Errors, Object

MAX_TIMEOUT_S = 30
MAX_PRECEDENCE = 10_000
_FAILURE = ("Fail", "Ignore")
_MATCH = ("Equivalent", "Exact")
_SCOPES = ("*", "Cluster", "Namespaced")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_REVIEWS = ("v1", "v1beta1")
_ACTIONS = ("Audit", "Deny", "Warn")


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def validate_webhooks(obj: Object, errors: Errors) -> None:
    """Names that differ, rules, and somewhere to call."""
    seen: set[str] = set()
    for at, webhook in enumerate(obj.get("webhooks") or ()):
        path, name = f"webhooks[{at}]", webhook.get("name") or ""
        if name in seen:
            errors.duplicate(f"{path}.name", name)
        seen.add(name)
        _domain(name, f"{path}.name", errors)
        _webhook(webhook, path, errors)


def _domain(name: str, path: str, errors: Errors) -> None:
    if not name:
        errors.required(path)
        return
    errors.all_invalid(path, name, formats.subdomain(name))
    if len(name.split(".")) < 3:
        text = "should be a domain with at least three segments separated by dots"
        errors.invalid(path, name, text)


def _webhook(webhook: Object, path: str, errors: Errors) -> None:
    versions = webhook.get("admissionReviewVersions") or []
    if not versions:
        text = f"must specify one of {', '.join(_REVIEWS)}"
        errors.required(f"{path}.admissionReviewVersions", text)
    elif not set(versions) & set(_REVIEWS):
        text = f"must include at least one of {', '.join(_REVIEWS)}"
        errors.invalid(f"{path}.admissionReviewVersions", versions, text)
    for at, rule in enumerate(webhook.get("rules") or ()):
        _rule(rule, f"{path}.rules[{at}]", errors)
    for name, supported in (
        ("failurePolicy", _FAILURE),
        ("matchPolicy", _MATCH),
        ("reinvocationPolicy", ("IfNeeded", "Never")),
    ):
        if webhook.get(name) not in (None, *supported):
            errors.not_supported(f"{path}.{name}", webhook[name], supported)
    effects = ("None", "NoneOnDryRun")
    if webhook.get("sideEffects") not in effects:
        if not webhook.get("sideEffects"):
            text = f"must specify one of {', '.join(effects)}"
            errors.required(f"{path}.sideEffects", text)
        else:
            errors.not_supported(f"{path}.sideEffects", webhook["sideEffects"], effects)
    timeout_s = webhook.get("timeoutSeconds")
    if timeout_s is not None and not 1 <= timeout_s <= MAX_TIMEOUT_S:
        text = "the timeout value must be between 1 and 30 seconds"
        errors.invalid(f"{path}.timeoutSeconds", timeout_s, text)
    _selectors(webhook, path, errors)
    webhook_clients.validate(webhook.get("clientConfig") or {}, f"{path}.clientConfig", errors)


def _selectors(holder: Object, path: str, errors: Errors) -> None:
    for name in ("namespaceSelector", "objectSelector"):
        if holder.get(name):
            selectors.validate(holder[name], f"{path}.{name}", errors)


def _rule(rule: Object, path: str, errors: Errors) -> None:
    for name in ("operations", "apiGroups", "apiVersions", "resources"):
        found = rule.get(name) or []
        if not found:
            errors.required(f"{path}.{name}")
        if "*" in found and len(found) > 1 and name != "resources":
            text = "if '*' is present, must not specify other "
            words = {"operations": "operations", "apiGroups": "API groups"}
            errors.invalid(f"{path}.{name}", found, text + words.get(name, "API versions"))
    for at, operation in enumerate(rule.get("operations") or ()):
        if operation not in _OPERATIONS:
            errors.not_supported(f"{path}.operations[{at}]", operation, _OPERATIONS)
    if rule.get("scope") not in (None, *_SCOPES):
        errors.not_supported(f"{path}.scope", rule["scope"], _SCOPES)


def _match(match: Object, path: str, errors: Errors) -> None:
    _selectors(match, path, errors)
    if match.get("matchPolicy") not in (None, *_MATCH):
        errors.not_supported(f"{path}.matchPolicy", match["matchPolicy"], _MATCH)
    for name in ("resourceRules", "excludeResourceRules"):
        for at, rule in enumerate(match.get(name) or ()):
            _rule(rule, f"{path}.{name}[{at}]", errors)


def validate_admission_policy(obj: Object, errors: Errors) -> None:
    """What it matches and what it says of that; expressions are compiled elsewhere."""
    spec = _spec(obj)
    if spec.get("failurePolicy") not in (None, *_FAILURE):
        errors.not_supported("spec.failurePolicy", spec["failurePolicy"], _FAILURE)
    kind = spec.get("paramKind")
    if kind is not None:
        for name in ("apiVersion", "kind"):
            if not kind.get(name):
                errors.required(f"spec.paramKind.{name}")
    match = spec.get("matchConstraints")
    if match is None:
        errors.required("spec.matchConstraints")
    else:
        if not match.get("resourceRules"):
            errors.required("spec.matchConstraints.resourceRules")
        _match(match, "spec.matchConstraints", errors)
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        text = "validations or auditAnnotations must be non-empty"
        errors.required("spec.validations", f"{text}; at least one must be specified")
    for at, validation in enumerate(spec.get("validations") or ()):
        path = f"spec.validations[{at}]"
        if not (validation.get("expression") or "").strip():
            errors.required(f"{path}.expression", "expression is not specified")
        if "\n" in (validation.get("message") or ""):
            text = "message must not contain line breaks"
            errors.invalid(f"{path}.message", validation["message"], text)


def validate_admission_policy_binding(obj: Object, errors: Errors) -> None:
    """Which policy, and what happens when it is broken."""
    spec = _spec(obj)
    if not spec.get("policyName"):
        errors.required("spec.policyName")
    actions = spec.get("validationActions") or []
    if not actions:
        errors.required("spec.validationActions", "at least one validation action is required")
    for at, action in enumerate(actions):
        if action not in _ACTIONS:
            errors.not_supported(f"spec.validationActions[{at}]", action, _ACTIONS)
        if action in actions[:at]:
            errors.duplicate(f"spec.validationActions[{at}]", action)
    if {"Deny", "Warn"} <= set(actions):
        text = (
            "must not contain both Deny and Warn (repeating the same validation failure "
            "information in the API response and headers serves no purpose)"
        )
        errors.invalid("spec.validationActions", actions, text)
    reference = spec.get("paramRef")
    if reference is not None:
        if bool(reference.get("name")) == (reference.get("selector") is not None):
            text = "exactly one of name or selector must be specified"
            errors.required("spec.paramRef.name", text)
        if reference.get("selector"):
            selectors.validate(reference["selector"], "spec.paramRef.selector", errors)
        actions = ("Allow", "Deny")
        errors.one_of("spec.paramRef.parameterNotFoundAction",
                      reference.get("parameterNotFoundAction"), actions)  # fmt: skip
    if spec.get("matchResources"):
        _match(spec["matchResources"], "spec.matchResources", errors)


def validate_flow_schema(obj: Object, errors: Errors) -> None:
    """Who is matched, before whom, and where it goes."""
    spec = _spec(obj)
    precedence = spec.get("matchingPrecedence", 0)
    if precedence <= 0:
        errors.invalid("spec.matchingPrecedence", precedence, "must be a positive value")
    if precedence > MAX_PRECEDENCE:
        text = f"must not be greater than {MAX_PRECEDENCE}"
        errors.invalid("spec.matchingPrecedence", precedence, text)
    if not (spec.get("priorityLevelConfiguration") or {}).get("name"):
        text = "must reference a priority level"
        errors.required("spec.priorityLevelConfiguration.name", text)
    for at, rule in enumerate(spec.get("rules") or ()):
        path = f"spec.rules[{at}]"
        if not rule.get("subjects"):
            errors.required(f"{path}.subjects", "subjects must contain at least one value")
        if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
            text = "at least one of resourceRules and nonResourceRules has to be non-empty"
            errors.required(path, text)
        for index, subject in enumerate(rule.get("subjects") or ()):
            kinds = ("Group", "ServiceAccount", "User")
            place = f"{path}.subjects[{index}].kind"
            if subject.get("kind") not in kinds:
                errors.not_supported(place, subject.get("kind") or "", kinds)
    method = (spec.get("distinguisherMethod") or {}).get("type")
    if method not in (None, "ByNamespace", "ByUser"):
        supported = ("ByNamespace", "ByUser")
        errors.not_supported("spec.distinguisherMethod", method, supported)


def validate_priority_level(obj: Object, errors: Errors) -> None:
    """Limited levels say how."""
    spec = _spec(obj)
    type_, limited = spec.get("type"), spec.get("limited")
    if type_ == "Limited":
        if limited is None:
            errors.required("spec.limited", "must not be empty when type is Limited")
            return
        _limited(limited, "spec.limited", errors)
    elif type_ == "Exempt":
        if limited is not None:
            errors.forbidden("spec.limited", "must be nil if the type is not Limited")
    else:
        errors.not_supported("spec.type", type_ or "", ("Exempt", "Limited"))


def _limited(limited: Object, path: str, errors: Errors) -> None:
    errors.not_negative(f"{path}.nominalConcurrencyShares", limited.get("nominalConcurrencyShares"))
    lent = limited.get("lendablePercent") or 0
    if not 0 <= lent <= 100:
        errors.invalid(f"{path}.lendablePercent", lent, "must be between 0 and 100, inclusive")
    response = limited.get("limitResponse") or {}
    queuing = response.get("queuing")
    if response.get("type") == "Reject":
        if queuing is not None:
            text = "must be nil if limited.limitResponse.type is not Limited"
            errors.forbidden(f"{path}.limitResponse.queuing", text)
    elif response.get("type") != "Queue":
        supported = ("Queue", "Reject")
        errors.not_supported(f"{path}.limitResponse.type", response.get("type") or "", supported)
    elif queuing is None:
        text = "must not be empty if limited.limitResponse.type is Limited"
        errors.required(f"{path}.limitResponse.queuing", text)
    else:
        place = f"{path}.limitResponse.queuing"
        for name in ("queueLengthLimit", "queues", "handSize"):
            if queuing.get(name, 0) <= 0:
                errors.invalid(f"{place}.{name}", queuing.get(name, 0), "must be positive")
        if queuing.get("handSize", 0) > queuing.get("queues", 0):
            text = f"should not be greater than queues ({queuing.get('queues', 0)})"
            errors.invalid(f"{place}.handSize", queuing["handSize"], text)
