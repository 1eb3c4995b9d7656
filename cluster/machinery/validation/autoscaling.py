"""Horizontal pod autoscalers; v1 is validated as the v2 that it is."""

from __future__ import annotations

from cluster.machinery import quantity
from cluster.machinery.conversion import autoscalers
from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object

MAX_WINDOW_S = 3600
MAX_PERIOD_S = 1800
_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_TARGETS = ("AverageValue", "Utilization", "Value")
_POSITIVE = "must be greater than 0"


def validate(obj: Object, errors: Errors) -> None:
    """Bounds, target, metrics and behavior."""
    spec = obj.get("spec") or {}
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if low is not None and low < 1:
        errors.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        errors.invalid("spec.maxReplicas", high, _POSITIVE)
    if low is not None and high < low:
        text = "must be greater than or equal to `minReplicas`"
        errors.invalid("spec.maxReplicas", high, text)
    _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", errors)
    percent = spec.get("targetCPUUtilizationPercentage")
    if percent is not None and percent < 1:
        errors.invalid("spec.targetCPUUtilizationPercentage", percent, _POSITIVE)
        return
    if obj.get("apiVersion") == autoscalers.V1:
        spec = autoscalers.to_v2(obj)["spec"]
    for at, metric in enumerate(spec.get("metrics") or ()):
        _metric(metric, f"spec.metrics[{at}]", errors)
    behavior = spec.get("behavior") or {}
    for name in ("scaleUp", "scaleDown"):
        if behavior.get(name) is not None:
            _rules(behavior[name], f"spec.behavior.{name}", errors)


def _reference(reference: Object, path: str, errors: Errors) -> None:
    for name in ("kind", "name"):
        value = reference.get(name)
        if not value:
            errors.required(f"{path}.{name}")
        else:
            errors.all_invalid(f"{path}.{name}", value, formats.path_segment(value))


def _metric(metric: Object, path: str, errors: Errors) -> None:
    type_ = metric.get("type") or ""
    if not type_:
        errors.required(f"{path}.type", "must specify a metric source type")
        return
    if type_ not in _TYPES:
        errors.not_supported(f"{path}.type", type_, _TYPES)
        return
    name = type_[:1].lower() + type_[1:]
    for other in metric.keys() - {"type", name}:
        text = "must populate the given metric source only"
        errors.forbidden(f"{path}.{other}", text)
    found = metric.get(name)
    if found is None:
        errors.required(f"{path}.{name}", "must populate information for the given metric source")
        return
    if name in ("resource", "containerResource"):
        if not found.get("name"):
            errors.required(f"{path}.{name}.name", "must specify a resource name")
    elif not (found.get("metric") or {}).get("name"):
        errors.required(f"{path}.{name}.metric.name")
    if name == "object":
        _reference(found.get("describedObject") or {}, f"{path}.object.describedObject", errors)
    if name == "containerResource" and not found.get("container"):
        errors.required(f"{path}.{name}.container", "must specify a container")
    _target(found.get("target") or {}, f"{path}.{name}.target", name, errors)


def _target(target: Object, path: str, source: str, errors: Errors) -> None:
    errors.one_of(f"{path}.type", target.get("type"), _TARGETS)
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        errors.invalid(f"{path}.averageUtilization", utilization, _POSITIVE)
    for name in ("value", "averageValue"):
        amount = target.get(name)
        if amount is not None and quantity.parse(amount) <= 0:
            errors.invalid(f"{path}.{name}", quantity.canonical(amount), "must be positive")
    average = target.get("averageValue")
    if source in ("resource", "containerResource"):
        if utilization is None and average is None:
            text = "must set either a target raw value or a target utilization"
            errors.required(f"{path}.averageUtilization", text)
        elif utilization is not None and average is not None:
            text = "may not set both a target raw value and a target utilization"
            errors.forbidden(f"{path}.averageValue", text)
    elif source == "pods" and average is None:
        errors.required(f"{path}.averageValue", "must specify a positive target averageValue")
    elif source in ("object", "external") and average is None and target.get("value") is None:
        text = "must set either a target value or averageValue"
        errors.required(f"{path}.averageValue", text)


def _rules(rules: Object, path: str, errors: Errors) -> None:
    window = rules.get("stabilizationWindowSeconds")
    errors.not_negative(f"{path}.stabilizationWindowSeconds", window)
    if window is not None and window > MAX_WINDOW_S:
        text = f"must be less than or equal to {MAX_WINDOW_S}"
        errors.invalid(f"{path}.stabilizationWindowSeconds", window, text)
    selects = ("Disabled", "Max", "Min")
    if rules.get("selectPolicy") not in (None, *selects):
        errors.not_supported(f"{path}.selectPolicy", rules["selectPolicy"], selects)
    if not rules.get("policies"):
        errors.required(f"{path}.policies", "must specify at least one Policy")
    for at, policy in enumerate(rules.get("policies") or ()):
        place = f"{path}.policies[{at}]"
        if policy.get("type") not in ("Percent", "Pods"):
            errors.not_supported(f"{place}.type", policy.get("type"), ("Percent", "Pods"))
        for name in ("value", "periodSeconds"):
            if policy.get(name, 0) <= 0:
                errors.invalid(f"{place}.{name}", policy.get(name, 0), "must be greater than zero")
        if policy.get("periodSeconds", 0) > MAX_PERIOD_S:
            text = f"must be less than or equal to {MAX_PERIOD_S}"
            errors.invalid(f"{place}.periodSeconds", policy["periodSeconds"], text)
