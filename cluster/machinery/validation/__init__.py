"""Upstream's validation: whether an object may be stored, and in its place of an older one.

Belongs here: rules on objects that are decoded, type-checked and defaulted. Does not: what
needs other objects or the request (admission). One file per kind or family of kinds; field
paths, reasons and messages are upstream's.

One rule is left out on purpose: upstream forbids loopback addresses in endpoints, and here
every pod and node has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cluster.machinery.status import Cause
from cluster.machinery.validation import (
    apiservices,
    autoscaling,
    batch,
    certificates,
    configmaps,
    devices,
    endpoints,
    events,
    leases,
    metadata,
    namespaces,
    networking,
    nodes,
    pods,
    policy,
    rbac,
    registration,
    secrets,
    services,
    storage,
    templates,
    workloads,
)
from cluster.machinery.validation.field import Errors, Object

__all__ = ["Cause", "validate_create", "validate_update"]

Create = Callable[[Object, Errors], None]
Update = Callable[[Object, Object, Errors], None]

_STORAGE, _NETWORKING = "storage.k8s.io/v1", "networking.k8s.io/v1"
_RBAC, _DEVICES = "rbac.authorization.k8s.io/v1", "resource.k8s.io/v1"
_ADMISSION, _FLOW = "admissionregistration.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1"


@dataclass(frozen=True)
class Rules:
    """Of a kind: on every object, on an update besides, and instead on a new one."""

    always: Create | None = None
    update: Update | None = None
    new: Create | None = None


NONE = Rules()
_RULES: dict[tuple[str, str], Rules] = {
    ("v1", "Pod"): Rules(pods.validate),
    ("v1", "Service"): Rules(services.validate, services.validate_update),
    ("v1", "ConfigMap"): Rules(configmaps.validate, configmaps.validate_update),
    ("v1", "Secret"): Rules(secrets.validate, secrets.validate_update),
    ("v1", "Node"): Rules(nodes.validate, nodes.validate_update),
    ("v1", "Endpoints"): Rules(endpoints.validate),
    ("v1", "Event"): Rules(events.validate),
    ("events.k8s.io/v1", "Event"): Rules(events.validate),
    ("v1", "ReplicationController"): Rules(workloads.validate_replication_controller),
    ("discovery.k8s.io/v1", "EndpointSlice"): Rules(
        endpoints.validate_slice, endpoints.validate_slice_update
    ),
    ("coordination.k8s.io/v1", "Lease"): Rules(leases.validate),
    ("apps/v1", "Deployment"): Rules(
        workloads.validate_deployment, workloads.validate_selector_update
    ),
    ("apps/v1", "ReplicaSet"): Rules(
        workloads.validate_replica_set, workloads.validate_selector_update
    ),
    ("apps/v1", "StatefulSet"): Rules(
        workloads.validate_stateful_set, workloads.validate_stateful_set_update
    ),
    ("apps/v1", "DaemonSet"): Rules(
        workloads.validate_daemon_set, workloads.validate_selector_update
    ),
    ("batch/v1", "Job"): Rules(batch.validate_job, batch.validate_job_update),
    ("batch/v1", "CronJob"): Rules(batch.validate_cron_job),
    ("v1", "PodTemplate"): Rules(templates.validate_pod_template),
    ("v1", "PersistentVolume"): Rules(storage.validate_volume, storage.validate_volume_update),
    ("v1", "PersistentVolumeClaim"): Rules(storage.validate_claim, storage.validate_claim_update),
    (_STORAGE, "StorageClass"): Rules(storage.validate_class, storage.validate_class_update),
    (_STORAGE, "CSIDriver"): Rules(storage.validate_driver, storage.validate_driver_update),
    (_STORAGE, "CSINode"): Rules(storage.validate_csi_node),
    (_STORAGE, "CSIStorageCapacity"): Rules(
        storage.validate_capacity, storage.validate_capacity_update
    ),
    (_STORAGE, "VolumeAttachment"): Rules(
        storage.validate_attachment, storage.validate_attachment_update
    ),
    (_STORAGE, "VolumeAttributesClass"): Rules(
        storage.validate_attributes_class, storage.validate_attributes_class_update
    ),
    ("policy/v1", "PodDisruptionBudget"): Rules(policy.validate_budget),
    ("v1", "LimitRange"): Rules(policy.validate_limit_range),
    ("v1", "ResourceQuota"): Rules(policy.validate_quota, policy.validate_quota_update),
    ("scheduling.k8s.io/v1", "PriorityClass"): Rules(
        policy.validate_priority_class, policy.validate_priority_class_update
    ),
    ("node.k8s.io/v1", "RuntimeClass"): Rules(
        policy.validate_runtime_class, policy.validate_runtime_class_update
    ),
    ("autoscaling/v1", "HorizontalPodAutoscaler"): Rules(autoscaling.validate),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): Rules(autoscaling.validate),
    (_NETWORKING, "Ingress"): Rules(
        networking.validate_ingress, new=networking.validate_new_ingress
    ),
    (_NETWORKING, "IngressClass"): Rules(
        networking.validate_ingress_class, networking.validate_ingress_class_update
    ),
    (_NETWORKING, "NetworkPolicy"): Rules(networking.validate_network_policy),
    (_NETWORKING, "IPAddress"): Rules(
        networking.validate_ip_address, networking.validate_ip_address_update
    ),
    (_NETWORKING, "ServiceCIDR"): Rules(
        networking.validate_service_cidr, networking.validate_service_cidr_update
    ),
    (_RBAC, "Role"): Rules(rbac.validate_role),
    (_RBAC, "ClusterRole"): Rules(rbac.validate_cluster_role),
    (_RBAC, "RoleBinding"): Rules(rbac.validate_role_binding, rbac.validate_binding_update),
    (_RBAC, "ClusterRoleBinding"): Rules(
        rbac.validate_cluster_role_binding, rbac.validate_binding_update
    ),
    (_ADMISSION, "MutatingWebhookConfiguration"): Rules(registration.validate_webhooks),
    (_ADMISSION, "ValidatingWebhookConfiguration"): Rules(registration.validate_webhooks),
    (_ADMISSION, "ValidatingAdmissionPolicy"): Rules(registration.validate_admission_policy),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): Rules(
        registration.validate_admission_policy_binding
    ),
    ("apiregistration.k8s.io/v1", "APIService"): Rules(apiservices.validate),
    (_FLOW, "FlowSchema"): Rules(registration.validate_flow_schema),
    (_FLOW, "PriorityLevelConfiguration"): Rules(registration.validate_priority_level),
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): Rules(
        certificates.validate, certificates.validate_update
    ),
    (_DEVICES, "DeviceClass"): Rules(devices.validate_class),
    (_DEVICES, "ResourceClaim"): Rules(devices.validate_claim, devices.validate_fixed_spec),
    (_DEVICES, "ResourceClaimTemplate"): Rules(
        devices.validate_claim_template, devices.validate_fixed_spec
    ),
    (_DEVICES, "ResourceSlice"): Rules(devices.validate_slice, devices.validate_slice_update),
    ("v1", "Namespace"): Rules(update=namespaces.validate_update),
}


def _kind(obj: Object) -> tuple[str, str]:
    return obj.get("apiVersion", ""), obj.get("kind", "")


def validate_create(obj: Object) -> list[Cause]:
    """Every reason why the object may not be created; none: it may."""
    errors = Errors()
    metadata.validate(obj, errors)
    rules = _RULES.get(_kind(obj), NONE)
    rule = rules.new or rules.always
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
    rules = _RULES.get(kind, NONE)
    if rules.always is not None:
        rules.always(new, errors)
    if rules.update is not None:
        rules.update(new, old, errors)
    return errors
