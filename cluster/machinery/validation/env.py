"""Environment variables and what they refer to."""

from __future__ import annotations

import re

from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object

ENV_FIELDS = frozenset(
    {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
        "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP",
        "status.podIPs",
    }
)  # fmt: skip
VOLUME_FIELDS = frozenset(
    {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace",
     "metadata.uid"}
)  # fmt: skip
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def validate(variables: list[Object], path: str, errors: Errors) -> None:
    """The env of a container."""
    for at, variable in enumerate(variables):
        own = f"{path}[{at}]"
        name = variable.get("name")
        if not name:
            errors.required(f"{own}.name")
        else:
            errors.all_invalid(f"{own}.name", name, formats.env_name(name))
        if variable.get("valueFrom") is not None:
            _value_from(variable, f"{own}.valueFrom", errors)


def _value_from(variable: Object, path: str, errors: Errors) -> None:
    source = variable["valueFrom"]
    named = [name for name in _SOURCES if source.get(name) is not None]
    if variable.get("value"):
        errors.invalid(path, "", "may not be specified when `value` is not empty")
    if not named:
        errors.invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, "
                       "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")  # fmt: skip
    elif len(named) > 1:
        errors.invalid(path, "", "may not have more than one field specified at a time")
    for name in named:
        if name == "fieldRef":
            field_reference(source[name], f"{path}.fieldRef", ENV_FIELDS, errors)
        elif name == "resourceFieldRef":
            if not source[name].get("resource"):
                errors.required(f"{path}.resourceFieldRef.resource")
        else:
            _key_reference(source[name], f"{path}.{name}", errors)


def _key_reference(reference: Object, path: str, errors: Errors) -> None:
    if not reference.get("name") and not reference.get("volumeName"):
        errors.required(f"{path}.name")
    key = reference.get("key")
    if not key:
        errors.required(f"{path}.key")
    else:
        errors.all_invalid(f"{path}.key", key, formats.config_key(key))


def field_reference(reference: Object, path: str, allowed: frozenset[str], errors: Errors) -> None:
    """A field of the pod itself."""
    if not reference.get("apiVersion"):
        errors.required(f"{path}.apiVersion")
    field = reference.get("fieldPath")
    if not field:
        errors.required(f"{path}.fieldPath")
        return
    match = _SUBSCRIPT.fullmatch(field)
    if match:
        key = match.group(2)
        lowered = key.lower() if match.group(1) == "annotations" else key
        errors.all_invalid(path, key, formats.qualified_name(lowered))
    elif field not in ENV_FIELDS | VOLUME_FIELDS:
        detail = f"error converting fieldPath: field label not supported: {field}"
        errors.invalid(f"{path}.fieldPath", field, detail)
    elif field not in allowed:
        errors.not_supported(f"{path}.fieldPath", field, sorted(allowed))


def validate_from(sources: list[Object], path: str, errors: Errors) -> None:
    """The envFrom of a container."""
    for at, source in enumerate(sources):
        own = f"{path}[{at}]"
        if source.get("prefix"):
            prefix = source["prefix"]
            errors.all_invalid(f"{own}.prefix", prefix, formats.env_name(prefix))
        named = [n for n in ("configMapRef", "secretRef") if source.get(n) is not None]
        if not named:
            errors.invalid(own, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(named) > 1:
            errors.invalid(own, "", "may not have more than one field specified at a time")
        for name in named:
            if not source[name].get("name"):
                errors.required(f"{own}.{name}.name")
