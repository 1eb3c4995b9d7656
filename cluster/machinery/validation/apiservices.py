"""APIServices: their name says which group and version they serve."""

from __future__ import annotations

import base64

from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object

_STATES = ("True", "False", "Unknown")
_LIMITS = {"groupPriorityMinimum": 20_000, "versionPriority": 1_000}


def validate(obj: Object, errors: Errors) -> None:
    spec = obj.get("spec") or {}
    _group_version(spec, (obj.get("metadata") or {}).get("name") or "", errors)
    for field, most in _LIMITS.items():
        value = spec.get(field, 0)
        if not 0 < value <= most:
            errors.invalid(f"spec.{field}", value, f"must be positive and less than {most}")
    if spec.get("service") is None:
        _local(spec, errors)
    else:
        _remote(spec, errors)
    for at, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        if condition.get("status") not in _STATES:
            path = f"status.conditions[{at}].status"
            errors.not_supported(path, condition.get("status"), _STATES)


def _group_version(spec: Object, name: str, errors: Errors) -> None:
    group, version = spec.get("group") or "", spec.get("version") or ""
    required = f"{version}.{group}"
    if name and name != required:
        text = f'must be `spec.version+"."+spec.group`: "{required}"'
        errors.invalid("metadata.name", name, text)
    if not group and version != "v1":
        text = "only v1 may have an empty group and it better be legacy kube"
        errors.required("spec.group", text)
    if group:
        errors.all_invalid("spec.group", group, formats.subdomain(group))
    errors.all_invalid("spec.version", version, formats.label_1035(version))


def _local(spec: Object, errors: Errors) -> None:
    bundle = spec.get("caBundle")
    if bundle:
        size_bytes = len(base64.b64decode(bundle))
        text = "local APIServices may not have a caBundle"
        errors.invalid("spec.caBundle", f"{size_bytes} bytes", text)
    if spec.get("insecureSkipTLSVerify"):
        text = "local APIServices may not have insecureSkipTLSVerify"
        errors.invalid("spec.insecureSkipTLSVerify", True, text)


def _remote(spec: Object, errors: Errors) -> None:
    service = spec["service"]
    for field in ("namespace", "name"):
        if not service.get(field):
            errors.required(f"spec.service.{field}")
    port = service.get("port")
    if port is not None and formats.port_number(port):
        wrong = ", ".join(formats.port_number(port))
        errors.invalid("spec.service.port", port, f"port is not valid: {wrong}")
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        text = "may not be true if caBundle is present"
        errors.invalid("spec.insecureSkipTLSVerify", True, text)
