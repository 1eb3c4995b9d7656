"""Disruption budgets, priority and runtime classes, limit ranges and quotas."""

from __future__ import annotations

from cluster.machinery import intstr, quantity
from cluster.machinery.validation import formats, metadata, selectors
from cluster.machinery.validation.field import NOT_NEGATIVE, Errors, Object

MAX_USER_PRIORITY = 1_000_000_000
SYSTEM_PREFIX = "system-"
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_QUOTA_SCOPES = ("BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating",
                 "PriorityClass", "Terminating", "VolumeAttributesClass")  # fmt: skip
_AMOUNTS = ("cpu", "memory", "storage", "ephemeral-storage")


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def validate_budget(obj: Object, errors: Errors) -> None:
    """One of the two bounds."""
    spec = _spec(obj)
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        errors.invalid("spec", spec, text)
    for name in ("minAvailable", "maxUnavailable"):
        value = spec.get(name)
        if value is None:
            continue
        errors.all_invalid(f"spec.{name}", value, formats.percent_or_count(value))
        if intstr.is_percent(value) and int(value[:-1]) > 100:
            errors.invalid(f"spec.{name}", value, "must not be greater than 100%")
    if spec.get("selector"):
        selectors.validate(spec["selector"], "spec.selector", errors)
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in (None, "AlwaysAllow", "IfHealthyBudget"):
        supported = ("AlwaysAllow", "IfHealthyBudget")
        errors.not_supported("spec.unhealthyPodEvictionPolicy", policy, supported)


def validate_priority_class(obj: Object, errors: Errors) -> None:
    """Names and values of the system are its own."""
    name, value = (obj.get("metadata") or {}).get("name") or "", obj.get("value", 0)
    if name.startswith(SYSTEM_PREFIX):
        if SYSTEM_CLASSES.get(name) != value:
            text = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
            )
            errors.forbidden("metadata.name", text)
    elif value > MAX_USER_PRIORITY:
        text = f"maximum allowed value of a user defined priority is {MAX_USER_PRIORITY}"
        errors.forbidden("value", text)
    policies = ("Never", "PreemptLowerPriority")
    errors.one_of("preemptionPolicy", obj.get("preemptionPolicy"), policies)


def validate_priority_class_update(new: Object, old: Object, errors: Errors) -> None:
    """Pods carry the value, so it stays."""
    if new.get("value", 0) != old.get("value", 0):
        errors.forbidden("value", "may not be changed in an update.")
    metadata.immutable(new, old, "preemptionPolicy", errors)


def validate_runtime_class(obj: Object, errors: Errors) -> None:
    """The handler is a label."""
    handler = obj.get("handler") or ""
    errors.all_invalid("handler", handler, formats.label(handler))


def validate_runtime_class_update(new: Object, old: Object, errors: Errors) -> None:
    """The handler stays."""
    metadata.immutable(new, old, "handler", errors)


def validate_limit_range(obj: Object, errors: Errors) -> None:
    """Bounds are in order: min, default request, default, max."""
    seen: set[str] = set()
    for at, item in enumerate(_spec(obj).get("limits") or ()):
        path, type_ = f"spec.limits[{at}]", item.get("type") or ""
        if not type_:
            errors.required(f"{path}.type")
        if type_ in seen:
            errors.duplicate(f"{path}.type", type_)
        seen.add(type_)
        for name in ("default", "defaultRequest"):
            if type_ == "Pod" and item.get(name):
                errors.forbidden(f"{path}.{name}", "may not be specified when `type` is 'Pod'")
        bounds = item.keys() & {"min", "max"}
        if type_ == "PersistentVolumeClaim" and not any(
            "storage" in (item.get(b) or {}) for b in bounds
        ):
            errors.required(f"{path}.limits", "either minimum or maximum storage value is required,"
                                              " but neither was provided")  # fmt: skip
        _ordered(item, path, errors)


_ORDER = (
    ("min", "max", "min value {0} is greater than max value {1}", "min"),
    ("min", "default", "min value {0} is greater than default value {1}", "min"),
    ("min", "defaultRequest", "min value {0} is greater than default request value {1}",
     "defaultRequest"),
    ("defaultRequest", "max", "default request value {0} is greater than max value {1}",
     "defaultRequest"),
    ("defaultRequest", "default", "default request value {0} is greater than default limit value "
     "{1}", "defaultRequest"),
    ("default", "max", "default value {0} is greater than max value {1}", "default"),
)  # fmt: skip


def _ordered(item: Object, path: str, errors: Errors) -> None:
    names = set().union(*(item.get(bound) or {} for bound in ("min", "max", "default")))
    for name in sorted(names | set(item.get("defaultRequest") or ())):
        errors.all_invalid(f"{path}.{name}", name, formats.qualified_name(name))
        for low, high, text, at in _ORDER:
            small, large = (item.get(low) or {}).get(name), (item.get(high) or {}).get(name)
            if small is None or large is None or quantity.parse(small) <= quantity.parse(large):
                continue
            shown = (item.get(at) or {}).get(name)
            errors.invalid(f"{path}.{at}[{name}]", shown, text.format(small, large))


def validate_quota(obj: Object, errors: Errors) -> None:
    """Amounts are not negative, counts are whole, scopes are known."""
    spec = _spec(obj)
    for name, amount in (spec.get("hard") or {}).items():
        path = f"spec.hard[{name}]"
        errors.all_invalid(path, name, formats.qualified_name(name))
        nano = quantity.parse(amount)
        if nano < 0:
            errors.invalid(path, quantity.canonical(amount), NOT_NEGATIVE)
        measured = name.rpartition(".")[2] in _AMOUNTS or name in _AMOUNTS
        if not measured and "/" not in name and nano % quantity.NANO:
            errors.invalid(path, quantity.canonical(amount), "must be an integer")
    for scope in spec.get("scopes") or ():
        if scope not in _QUOTA_SCOPES:
            errors.invalid("spec.scopes", spec["scopes"], "unsupported scope")
    scopes = set(spec.get("scopes") or ())
    for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
        if {one, other} <= scopes:
            errors.invalid("spec.scopes", spec["scopes"], "conflicting scopes")


def validate_quota_update(new: Object, old: Object, errors: Errors) -> None:
    """What a quota counts stays."""
    if sorted(_spec(new).get("scopes") or ()) != sorted(_spec(old).get("scopes") or ()):
        errors.invalid("spec.scopes", _spec(new).get("scopes"), "field is immutable")
