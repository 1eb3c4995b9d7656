"""Pods: their specs, alone and in templates, and what may change in them."""

from __future__ import annotations

import re

from cluster.machinery import qos
from cluster.machinery.patch import copied
from cluster.machinery.validation import containers, formats, metadata, volumes
from cluster.machinery.validation.field import Errors, Object

MAX_DEADLINE_S = 2**31 - 1
_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_LENGTH_MAX = 253
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_IMMUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def validate(pod: Object, errors: Errors) -> None:
    """A pod by itself."""
    validate_spec(pod.get("spec") or {}, "spec", errors)


def validate_spec(spec: Object, path: str, errors: Errors) -> None:
    """A pod's spec, at `path` in the object that holds it."""
    names = volumes.validate(spec.get("volumes") or [], f"{path}.volumes", errors)
    containers.validate_all(spec, names, path, errors)
    errors.one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART)
    errors.one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    _sysctls((spec.get("securityContext") or {}).get("sysctls"), path, errors)
    if spec.get("nodeSelector"):
        metadata.labels(spec["nodeSelector"], f"{path}.nodeSelector", errors)
    _names(spec, path, errors)
    _deadline(spec.get("activeDeadlineSeconds"), f"{path}.activeDeadlineSeconds", errors)
    grace = spec.get("terminationGracePeriodSeconds")
    errors.not_negative(f"{path}.terminationGracePeriodSeconds", grace)
    if spec.get("tolerations"):
        _tolerations(spec["tolerations"], f"{path}.tolerations", errors)
    if spec.get("hostNetwork"):
        _host_network(spec, path, errors)


def _sysctls(sysctls: list[Object] | None, path: str, errors: Errors) -> None:
    names: set[str] = set()
    for at, sysctl in enumerate(sysctls or ()):
        own, name = f"{path}.securityContext.sysctls[{at}].name", sysctl.get("name") or ""
        if not name:
            errors.required(own)
        elif len(name) > _SYSCTL_LENGTH_MAX or not re.fullmatch(_SYSCTL, name):
            rule = f"must have at most {_SYSCTL_LENGTH_MAX} characters and match regex ^{_SYSCTL}$"
            errors.invalid(own, name, rule)
        elif name in names:
            errors.duplicate(own, name)
        names.add(name)


def _names(spec: Object, path: str, errors: Errors) -> None:
    for name in ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"):
        if spec.get(name):
            errors.all_invalid(f"{path}.{name}", spec[name], formats.subdomain(spec[name]))
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            errors.all_invalid(f"{path}.{name}", spec[name], formats.label(spec[name]))
    scheduler = spec.get("schedulerName")
    if scheduler:
        errors.all_invalid(f"{path}.schedulerName", scheduler, formats.qualified_name(scheduler))


def _deadline(seconds: int | None, path: str, errors: Errors) -> None:
    if seconds is not None and not 1 <= seconds <= MAX_DEADLINE_S:
        errors.invalid(path, seconds, f"must be between 1 and {MAX_DEADLINE_S}, inclusive")


def _host_network(spec: Object, path: str, errors: Errors) -> None:
    for at, container in enumerate(spec.get("containers") or ()):
        for index, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort") and port["hostPort"] != port.get("containerPort"):
                errors.invalid(
                    f"{path}.containers[{at}].ports[{index}].containerPort",
                    port.get("containerPort"),
                    "must match `hostPort` when `hostNetwork` is true",
                )


def _tolerations(tolerations: list[Object], path: str, errors: Errors) -> None:
    for at, toleration in enumerate(tolerations):
        own = f"{path}[{at}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        if key:
            errors.all_invalid(f"{own}.key", key, formats.qualified_name(key))
        elif operator != "Exists":
            errors.invalid(f"{own}.operator", operator, "operator must be Exists when `key` is "
                           'empty, which means "match all values and all keys"')  # fmt: skip
        _effect(toleration, own, errors)
        _operator(toleration, operator, own, errors)


def _operator(toleration: Object, operator: str, path: str, errors: Errors) -> None:
    value = toleration.get("value") or ""
    if operator in ("", "Equal"):
        errors.all_invalid(f"{path}.operator", value, formats.label_value(value))
    elif operator == "Exists":
        if value:
            detail = "value must be empty when `operator` is 'Exists'"
            errors.invalid(f"{path}.operator", toleration, detail)
    else:
        errors.not_supported(f"{path}.operator", operator, ("Equal", "Exists"))


def _effect(toleration: Object, path: str, errors: Errors) -> None:
    effect = toleration.get("effect") or ""
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.invalid(f"{path}.effect", effect, detail)
    if effect and effect not in _EFFECTS:
        errors.not_supported(f"{path}.effect", effect, _EFFECTS)


# --- updates ---


def validate_update(new: Object, old: Object, errors: Errors, subresource: str) -> None:
    """Images, a shorter deadline and more tolerations: nothing else of a spec may change."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if after == before:
        return
    validate_spec(after, "spec", errors)
    if subresource in _OTHER_WAYS:
        _OTHER_WAYS[subresource](after, before, errors)
        return
    for name in ("containers", "initContainers"):
        if len(after.get(name) or ()) != len(before.get(name) or ()):
            errors.forbidden(f"spec.{name}", "pod updates may not add or remove containers")
            return
    _shorter_deadline(after, before, errors)
    _more_tolerations(after, before, errors)
    changed = _changed(_with_what_may_change(after, before), before)
    if changed:
        errors.forbidden("spec", f"{_IMMUTABLE}\n\n{', '.join(changed)}")


def _ephemeral(after: Object, before: Object, errors: Errors) -> None:
    """Ephemeral containers come, but neither go nor change."""
    path, new = "spec.ephemeralContainers", after.get("ephemeralContainers") or []
    kept = {container.get("name"): container for container in new}
    for old in before.get("ephemeralContainers") or ():
        name = old.get("name")
        if name not in kept:
            errors.forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n')
        elif kept[name] != old:
            errors.forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n')


def _resize(after: Object, before: Object, errors: Errors) -> None:
    """Cpu and memory change, but not so that the pod is of another class."""
    for name in ("containers", "initContainers"):
        for mine, theirs in zip(after.get(name) or (), before.get(name) or (), strict=False):
            for part in ("limits", "requests"):
                new = (mine.get("resources") or {}).get(part) or {}
                old = (theirs.get("resources") or {}).get(part) or {}
                if _unmeasured(new) != _unmeasured(old):
                    text = "only cpu and memory resources are mutable"
                    errors.forbidden("spec", text)
                    return
    if qos.class_of(after) != qos.class_of(before):
        text = "Pod QOS Class may not change as a result of resizing"
        errors.invalid("spec", qos.class_of(after), text)


def _unmeasured(amounts: Object) -> Object:
    return {name: amount for name, amount in amounts.items() if name not in ("cpu", "memory")}


def _anything(after: Object, before: Object, errors: Errors) -> None:
    """A binding says where the pod runs."""


_OTHER_WAYS = {"ephemeralcontainers": _ephemeral, "resize": _resize, "binding": _anything}


def _shorter_deadline(after: Object, before: Object, errors: Errors) -> None:
    new, old = after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if old is None or new == old:
        return
    path = "spec.activeDeadlineSeconds"
    if new is None:
        errors.invalid(path, None, "must not update from a positive integer to nil value")
    elif new > old:
        errors.invalid(path, new, "must be less than or equal to previous value")


def _more_tolerations(after: Object, before: Object, errors: Errors) -> None:
    def plain(toleration: Object) -> Object:
        return {k: v for k, v in toleration.items() if k != "tolerationSeconds" and v}

    kept = [plain(toleration) for toleration in after.get("tolerations") or ()]
    for toleration in before.get("tolerations") or ():
        if plain(toleration) not in kept:
            errors.forbidden(
                "spec.tolerations",
                "existing toleration can not be modified except its tolerationSeconds",
            )
            return


def _with_what_may_change(after: Object, before: Object) -> Object:
    """The new spec with the old values where a change is allowed."""
    same: Object = copied(after)
    for name in ("containers", "initContainers"):
        for mine, theirs in zip(same.get(name) or (), before.get(name) or (), strict=True):
            mine["image"] = theirs.get("image")
    for name in ("activeDeadlineSeconds", "tolerations"):
        _put(same, name, before.get(name))
    if (before.get("terminationGracePeriodSeconds") or 0) < 0:
        _put(same, "terminationGracePeriodSeconds", before["terminationGracePeriodSeconds"])
    if before.get("schedulingGates"):
        _gated(same, after, before)
    return same


def _gated(same: Object, after: Object, before: Object) -> None:
    """A gated pod loses gates, and its node selector may grow stricter."""
    gates = [gate.get("name") for gate in before["schedulingGates"]]
    if all(gate.get("name") in gates for gate in after.get("schedulingGates") or ()):
        _put(same, "schedulingGates", before["schedulingGates"])
    selector, wider = after.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if wider.items() <= selector.items():
        _put(same, "nodeSelector", before.get("nodeSelector"))


def _put(spec: Object, name: str, value: object) -> None:
    if value is None:
        spec.pop(name, None)
    else:
        spec[name] = value


def _changed(after: Object, before: Object) -> list[str]:
    return sorted(
        f"spec.{name}"
        for name in after.keys() | before.keys()
        if (after.get(name) or None) != (before.get(name) or None)
    )
