"""Probes and life-cycle hooks."""

from __future__ import annotations

from typing import Any

from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
            "failureThreshold")  # fmt: skip


def validate_all(container: Object, path: str, errors: Errors) -> None:
    """The three probes and the hooks of a container."""
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            _probe(container[name], f"{path}.{name}", name == "readinessProbe", errors)
    for name in ("postStart", "preStop"):
        hook = (container.get("lifecycle") or {}).get(name)
        if hook is not None:
            _handler(hook, f"{path}.lifecycle.{name}", errors)


def _probe(probe: Object, path: str, readiness: bool, errors: Errors) -> None:
    _handler(probe, path, errors)
    for name in _NUMBERS:
        errors.not_negative(f"{path}.{name}", probe.get(name))
    if not readiness and probe.get("successThreshold", 1) != 1:
        errors.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and readiness:
        errors.invalid(
            f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes"
        )
    elif grace is not None and grace <= 0:
        errors.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")


def _handler(obj: Object, path: str, errors: Errors) -> None:
    named = [name for name in _HANDLERS if obj.get(name) is not None]
    if not named:
        errors.required(path, "must specify a handler type")
    for name in named[1:]:
        errors.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    if named:
        _details(named[0], obj[named[0]], f"{path}.{named[0]}", errors)


def _details(name: str, action: Object, path: str, errors: Errors) -> None:
    if name == "exec" and not action.get("command"):
        errors.required(f"{path}.command")
    if name in ("httpGet", "tcpSocket", "grpc"):
        _port(action.get("port"), f"{path}.port", errors)
    if name == "httpGet":
        if not action.get("path"):
            errors.required(f"{path}.path")
        if action.get("scheme") not in ("HTTP", "HTTPS"):
            errors.not_supported(f"{path}.scheme", action.get("scheme"), ("HTTP", "HTTPS"))


def _port(port: Any, path: str, errors: Errors) -> None:
    value = 0 if port is None else port
    errors.all_invalid(path, value, formats.port_or_name(value))
