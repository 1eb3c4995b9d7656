"""Deployments, replica sets, replication controllers, stateful sets and daemon sets."""

from __future__ import annotations

from typing import Any

from cluster.machinery import intstr
from cluster.machinery import selectors as matching
from cluster.machinery.errors import BadRequest
from cluster.machinery.validation import formats, metadata, selectors, templates
from cluster.machinery.validation.field import Errors, Object


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def _template(spec: Object, errors: Errors) -> None:
    """Pods of workloads always start again."""
    pod = templates.validate(spec, errors)
    if pod.get("restartPolicy") != "Always":
        errors.not_supported(
            "spec.template.spec.restartPolicy", pod.get("restartPolicy"), ("Always",)
        )


def _selector(spec: Object, kind: str, errors: Errors) -> None:
    """It must be there, select something, and select the template."""
    selector = spec.get("selector")
    if selector is None:
        errors.required("spec.selector")
        return
    before = len(errors)
    selectors.validate(selector, "spec.selector", errors)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if len(errors) == before and not _matches(selector, labels):
        errors.invalid("spec.template.metadata.labels", labels,
                       "`selector` does not match template `labels`")  # fmt: skip


def _matches(selector: Object, labels: Object) -> bool:
    try:
        return matching.from_object(selector).matches(labels)
    except BadRequest:
        return True  # the selector itself has been refused already


def _no_deadline(spec: Object, kind: str, errors: Errors) -> None:
    pod = (spec.get("template") or {}).get("spec") or {}
    if pod.get("activeDeadlineSeconds") is not None:
        errors.forbidden("spec.template.spec.activeDeadlineSeconds",
                         f"activeDeadlineSeconds in {kind} is not Supported")  # fmt: skip


def validate_deployment(obj: Object, errors: Errors) -> None:
    """Selector, template, strategy and deadlines."""
    spec = _spec(obj)
    errors.not_negative("spec.replicas", spec.get("replicas"))
    _selector(spec, "deployment", errors)
    _template(spec, errors)
    _no_deadline(spec, "Deployment", errors)
    _strategy(spec.get("strategy") or {}, errors)
    for name in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        errors.not_negative(f"spec.{name}", spec.get(name))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        detail = "must be greater than minReadySeconds"
        errors.invalid("spec.progressDeadlineSeconds", deadline, detail)


def _strategy(strategy: Object, errors: Errors) -> None:
    type_, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if type_ == "Recreate":
        if rolling is not None:
            errors.forbidden("spec.strategy.rollingUpdate",
                             "may not be specified when strategy `type` is 'Recreate'")  # fmt: skip
    elif type_ == "RollingUpdate":
        if rolling is None:
            errors.required(
                "spec.strategy.rollingUpdate", "this should be defaulted and never be nil"
            )
        else:
            _rolling(rolling, "spec.strategy.rollingUpdate", errors)
    else:
        errors.not_supported("spec.strategy.type", type_, ("Recreate", "RollingUpdate"))


def _rolling(rolling: Object, path: str, errors: Errors) -> None:
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    for name, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        errors.all_invalid(f"{path}.{name}", value, formats.percent_or_count(value))
    if _number(unavailable) == 0 and _number(surge) == 0:
        errors.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    if intstr.is_percent(unavailable) and _number(unavailable) > 100:
        errors.invalid(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%")


def _number(value: Any) -> int:
    """The count or the percentage."""
    return int(value[:-1]) if intstr.is_percent(value) else value if isinstance(value, int) else -1


def validate_replica_set(obj: Object, errors: Errors) -> None:
    """Selector and template."""
    spec = _spec(obj)
    errors.not_negative("spec.replicas", spec.get("replicas"))
    errors.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    _selector(spec, "replicaset", errors)
    _template(spec, errors)
    _no_deadline(spec, "ReplicaSet", errors)


def validate_replication_controller(obj: Object, errors: Errors) -> None:
    """The selector is a plain map of labels."""
    spec = _spec(obj)
    errors.not_negative("spec.replicas", spec.get("replicas"))
    errors.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    selector = spec.get("selector") or {}
    if not selector:
        errors.required("spec.selector")
    if spec.get("template") is None:
        errors.required("spec.template")
        return
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not selector.items() <= labels.items():
        errors.invalid("spec.template.metadata.labels", labels,
                       "`selector` does not match template `labels`")  # fmt: skip
    _template(spec, errors)


def validate_stateful_set(obj: Object, errors: Errors) -> None:
    """Selector, template and policies."""
    spec = _spec(obj)
    policy = spec.get("podManagementPolicy")
    if not policy:
        errors.required("spec.podManagementPolicy")
    elif policy not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        errors.invalid("spec.podManagementPolicy", policy, detail)
    _stateful_strategy(spec.get("updateStrategy") or {}, errors)
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        if retention.get(name) not in (None, "Delete", "Retain"):
            path = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
            errors.not_supported(path, retention[name], ("Delete", "Retain"))
    for name in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        errors.not_negative(f"spec.{name}", spec.get(name))
    errors.not_negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    _selector(spec, "statefulset", errors)
    claims = [{"name": (c.get("metadata") or {}).get("name"), "persistentVolumeClaim": {
        "claimName": "x"}} for c in spec.get("volumeClaimTemplates") or ()]  # fmt: skip
    _template(_with_volumes(spec, claims), errors)
    _no_deadline(spec, "StatefulSet", errors)


def _stateful_strategy(strategy: Object, errors: Errors) -> None:
    type_, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if not type_:
        errors.required(path)
    elif type_ == "OnDelete":
        if rolling is not None:
            detail = "only allowed for updateStrategy 'RollingUpdate'"
            errors.invalid(f"{path}.rollingUpdate", rolling, detail)
    elif type_ == "RollingUpdate":
        errors.not_negative(f"{path}.rollingUpdate.partition", (rolling or {}).get("partition"))
        most = (rolling or {}).get("maxUnavailable")
        if most is not None:
            place = f"{path}.rollingUpdate.maxUnavailable"
            errors.all_invalid(place, most, formats.percent_or_count(most))
            if _number(most) == 0:
                errors.invalid(place, most, "cannot be 0")
    else:
        errors.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")


def _with_volumes(spec: Object, claims: list[Object]) -> Object:
    """The spec with the volumes that claims will add, so that mounts find them."""
    if not claims:
        return spec
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    own = [v for v in pod.get("volumes") or () if v.get("name") not in {c["name"] for c in claims}]
    return {**spec, "template": {**template, "spec": {**pod, "volumes": [*own, *claims]}}}


def validate_daemon_set(obj: Object, errors: Errors) -> None:
    """Selector, template and strategy."""
    spec = _spec(obj)
    _selector(spec, "daemonset", errors)
    _template(spec, errors)
    _no_deadline(spec, "DaemonSet", errors)
    errors.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    errors.not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "RollingUpdate":
        _daemon_rolling(strategy.get("rollingUpdate") or {}, errors)
    elif strategy.get("type") != "OnDelete":
        errors.not_supported("spec.updateStrategy.type", strategy.get("type"),
                             ("RollingUpdate", "OnDelete"))  # fmt: skip


def _daemon_rolling(rolling: Object, errors: Errors) -> None:
    path = "spec.updateStrategy.rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    for name, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        errors.all_invalid(f"{path}.{name}", value, formats.percent_or_count(value))
    if _number(unavailable) > 0 and _number(surge) > 0:
        errors.invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    if _number(unavailable) == 0 and _number(surge) == 0:
        errors.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")


# --- updates ---


def validate_selector_update(new: Object, old: Object, errors: Errors) -> None:
    """A selector never changes."""
    metadata.immutable(new, old, "spec.selector", errors)


_STATEFUL_MAY_CHANGE = {
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
}  # fmt: skip


def validate_stateful_set_update(new: Object, old: Object, errors: Errors) -> None:
    """Identity and storage of a stateful set never change."""
    after, before = _spec(new), _spec(old)
    fixed = (after.keys() | before.keys()) - _STATEFUL_MAY_CHANGE
    if any(after.get(name) != before.get(name) for name in fixed):
        errors.forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', "
            "'template', 'updateStrategy', 'revisionHistoryLimit', "
            "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )
