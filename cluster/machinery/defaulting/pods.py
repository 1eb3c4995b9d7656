"""Defaults of pods, their containers, probes and volumes (pkg/apis/core/v1/defaults.go)."""

from __future__ import annotations

import re
from typing import Any

from cluster.machinery.defaulting.values import Object, default, default_zero, items, part

FILE_MODE = 0o644
TOKEN_EXPIRATION_S = 3600

_PROBE_NUMBERS = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}
_SOURCES_WITH_MODE = ("configMap", "secret", "downwardAPI", "projected")
_TAG = re.compile(r":([A-Za-z0-9_][A-Za-z0-9._-]*)$")


def apply_pod(obj: Object) -> None:
    """A pod itself: on top of its spec, requests follow limits, and links are enabled."""
    spec = part(obj, "spec")
    apply_spec(spec)
    containers = [*items(spec, "initContainers"), *items(spec, "containers")]
    for container in containers:
        _requests_follow_limits(container)
        if spec.get("hostNetwork"):
            for port in items(container, "ports"):
                default_zero(port, "hostPort", port.get("containerPort", 0))
    default(spec, "enableServiceLinks", True)


def apply_pod_template(obj: Object) -> None:
    """The PodTemplate kind."""
    apply_template(part(obj, "template"))


def apply_template(template: Object) -> None:
    """The template of a workload: metadata has no defaults."""
    apply_spec(part(template, "spec"))


def apply_spec(spec: Object) -> None:
    """What a pod and a template have in common."""
    default(spec, "dnsPolicy", "ClusterFirst")
    default(spec, "restartPolicy", "Always")
    default(spec, "schedulerName", "default-scheduler")
    default(spec, "terminationGracePeriodSeconds", 30)
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for container in items(spec, name):
            _container(container)
    for volume in items(spec, "volumes"):
        _volume(volume)


def pull_policy(image: str) -> str:
    """Always for `latest` and for no tag at all, unless the image is named by digest."""
    if "@" in image:
        return "IfNotPresent"
    tag = _TAG.search(image)
    return "Always" if tag is None or tag.group(1) == "latest" else "IfNotPresent"


def _container(container: Object) -> None:
    default(container, "imagePullPolicy", pull_policy(container.get("image") or ""))
    default(container, "terminationMessagePath", "/dev/termination-log")
    default(container, "terminationMessagePolicy", "File")
    if container.get("resources") is None:
        container["resources"] = {}
    for port in items(container, "ports"):
        default(port, "protocol", "TCP")
    for variable in items(container, "env"):
        _field_reference((variable.get("valueFrom") or {}).get("fieldRef"))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            _probe(container[name])
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _http_get(handler.get("httpGet"))


def _field_reference(reference: Any) -> None:
    if reference:
        default(reference, "apiVersion", "v1")


def _probe(probe: Object) -> None:
    for name, value in _PROBE_NUMBERS.items():
        default_zero(probe, name, value)
    _http_get(probe.get("httpGet"))
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


def _http_get(action: Any) -> None:
    if action is not None:
        default(action, "path", "/")
        default(action, "scheme", "HTTP")


def _requests_follow_limits(container: Object) -> None:
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if limits:
        resources["requests"] = {**limits, **(resources.get("requests") or {})}


def _volume(volume: Object) -> None:
    if not any(value is not None for name, value in volume.items() if name != "name"):
        volume["emptyDir"] = {}
    for name in _SOURCES_WITH_MODE:
        if volume.get(name) is not None:
            default(volume[name], "defaultMode", FILE_MODE)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    if volume.get("image") is not None:
        policy = pull_policy(volume["image"].get("reference") or "")
        default(volume["image"], "pullPolicy", policy)
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if claim:
        default(part(claim, "spec"), "volumeMode", "Filesystem")
    _projections(volume)


def _projections(volume: Object) -> None:
    for item in items(volume.get("downwardAPI") or {}, "items"):
        _field_reference(item.get("fieldRef"))
    for source in items(volume.get("projected") or {}, "sources"):
        if source.get("serviceAccountToken") is not None:
            default(source["serviceAccountToken"], "expirationSeconds", TOKEN_EXPIRATION_S)
        for item in items(source.get("downwardAPI") or {}, "items"):
            _field_reference(item.get("fieldRef"))
