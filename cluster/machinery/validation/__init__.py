"""Upstream's validation: whether an object may be stored, and in its place of an older one.

Belongs here: rules on objects that are decoded, type-checked and defaulted. Does not: what
needs other objects or the request (admission). One file per kind or family of kinds; field
paths, reasons and messages are upstream's.

One rule is left out on purpose: upstream forbids loopback addresses in endpoints, and here
every pod and node has one.
"""

from __future__ import annotations

from collections.abc import Callable

from cluster.machinery.status import Cause
from cluster.machinery.validation import (
    configmaps,
    endpoints,
    events,
    leases,
    metadata,
    namespaces,
    nodes,
    pods,
    secrets,
    services,
    workloads,
)
from cluster.machinery.validation.field import Errors, Object

__all__ = ["Cause", "validate_create", "validate_update"]

Create = Callable[[Object, Errors], None]
Update = Callable[[Object, Object, Errors], None]

_CREATE: dict[tuple[str, str], Create] = {
    ("v1", "Pod"): pods.validate,
    ("v1", "Service"): services.validate,
    ("v1", "ConfigMap"): configmaps.validate,
    ("v1", "Secret"): secrets.validate,
    ("v1", "Node"): nodes.validate,
    ("v1", "Endpoints"): endpoints.validate,
    ("v1", "Event"): events.validate,
    ("events.k8s.io/v1", "Event"): events.validate,
    ("v1", "ReplicationController"): workloads.validate_replication_controller,
    ("discovery.k8s.io/v1", "EndpointSlice"): endpoints.validate_slice,
    ("coordination.k8s.io/v1", "Lease"): leases.validate,
    ("apps/v1", "Deployment"): workloads.validate_deployment,
    ("apps/v1", "ReplicaSet"): workloads.validate_replica_set,
    ("apps/v1", "StatefulSet"): workloads.validate_stateful_set,
    ("apps/v1", "DaemonSet"): workloads.validate_daemon_set,
    ("batch/v1", "Job"): workloads.validate_job,
    ("batch/v1", "CronJob"): workloads.validate_cron_job,
}
_UPDATE: dict[tuple[str, str], Update] = {
    ("v1", "Service"): services.validate_update,
    ("v1", "ConfigMap"): configmaps.validate_update,
    ("v1", "Secret"): secrets.validate_update,
    ("v1", "Node"): nodes.validate_update,
    ("v1", "Namespace"): namespaces.validate_update,
    ("discovery.k8s.io/v1", "EndpointSlice"): endpoints.validate_slice_update,
    ("apps/v1", "Deployment"): workloads.validate_selector_update,
    ("apps/v1", "ReplicaSet"): workloads.validate_selector_update,
    ("apps/v1", "DaemonSet"): workloads.validate_selector_update,
    ("apps/v1", "StatefulSet"): workloads.validate_stateful_set_update,
    ("batch/v1", "Job"): workloads.validate_job_update,
}


def _kind(obj: Object) -> tuple[str, str]:
    return obj.get("apiVersion", ""), obj.get("kind", "")


def validate_create(obj: Object) -> list[Cause]:
    """Every reason why the object may not be created; none: it may."""
    errors = Errors()
    metadata.validate(obj, errors)
    rule = _CREATE.get(_kind(obj))
    if rule is not None:
        rule(obj, errors)
    return errors


def validate_update(new: Object, old: Object, *, subresource: str = "") -> list[Cause]:
    """Every reason why `new` may not take the place of `old`, which was stored.

    Through a `subresource` other fields may change: a pod's spec through ephemeralcontainers,
    resize and binding.
    """
    errors = Errors()
    metadata.validate(new, errors)
    metadata.validate_update(new, old, errors)
    kind = _kind(new)
    if kind == ("v1", "Pod"):
        pods.validate_update(new, old, errors, subresource)
        return errors
    if kind in _CREATE:
        _CREATE[kind](new, errors)
    if kind in _UPDATE:
        _UPDATE[kind](new, old, errors)
    return errors
