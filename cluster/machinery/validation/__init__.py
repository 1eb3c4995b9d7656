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
    ("batch/v1", "Job"): batch.validate_job,
    ("batch/v1", "CronJob"): batch.validate_cron_job,
    ("v1", "PodTemplate"): templates.validate_pod_template,
    ("v1", "PersistentVolume"): storage.validate_volume,
    ("v1", "PersistentVolumeClaim"): storage.validate_claim,
    (_STORAGE, "StorageClass"): storage.validate_class,
    (_STORAGE, "CSIDriver"): storage.validate_driver,
    (_STORAGE, "CSINode"): storage.validate_csi_node,
    (_STORAGE, "CSIStorageCapacity"): storage.validate_capacity,
    (_STORAGE, "VolumeAttachment"): storage.validate_attachment,
    (_STORAGE, "VolumeAttributesClass"): storage.validate_attributes_class,
    ("policy/v1", "PodDisruptionBudget"): policy.validate_budget,
    ("v1", "LimitRange"): policy.validate_limit_range,
    ("v1", "ResourceQuota"): policy.validate_quota,
    ("scheduling.k8s.io/v1", "PriorityClass"): policy.validate_priority_class,
    ("node.k8s.io/v1", "RuntimeClass"): policy.validate_runtime_class,
    ("autoscaling/v1", "HorizontalPodAutoscaler"): autoscaling.validate,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): autoscaling.validate,
    (_NETWORKING, "Ingress"): networking.validate_ingress,
    (_NETWORKING, "IngressClass"): networking.validate_ingress_class,
    (_NETWORKING, "NetworkPolicy"): networking.validate_network_policy,
    (_NETWORKING, "IPAddress"): networking.validate_ip_address,
    (_NETWORKING, "ServiceCIDR"): networking.validate_service_cidr,
    (_RBAC, "Role"): rbac.validate_role,
    (_RBAC, "ClusterRole"): rbac.validate_cluster_role,
    (_RBAC, "RoleBinding"): rbac.validate_role_binding,
    (_RBAC, "ClusterRoleBinding"): rbac.validate_cluster_role_binding,
    (_ADMISSION, "MutatingWebhookConfiguration"): registration.validate_webhooks,
    (_ADMISSION, "ValidatingWebhookConfiguration"): registration.validate_webhooks,
    (_ADMISSION, "ValidatingAdmissionPolicy"): registration.validate_admission_policy,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): (
        registration.validate_admission_policy_binding
    ),
    ("apiregistration.k8s.io/v1", "APIService"): apiservices.validate,
    (_FLOW, "FlowSchema"): registration.validate_flow_schema,
    (_FLOW, "PriorityLevelConfiguration"): registration.validate_priority_level,
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): certificates.validate,
    (_DEVICES, "DeviceClass"): devices.validate_class,
    (_DEVICES, "ResourceClaim"): devices.validate_claim,
    (_DEVICES, "ResourceClaimTemplate"): devices.validate_claim_template,
    (_DEVICES, "ResourceSlice"): devices.validate_slice,
}
_NEW: dict[tuple[str, str], Create] = {
    (_NETWORKING, "Ingress"): networking.validate_new_ingress,
}
"""Where a new object is held to more than a changed one."""
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
    ("batch/v1", "Job"): batch.validate_job_update,
    ("v1", "PersistentVolume"): storage.validate_volume_update,
    ("v1", "PersistentVolumeClaim"): storage.validate_claim_update,
    (_STORAGE, "StorageClass"): storage.validate_class_update,
    (_STORAGE, "CSIDriver"): storage.validate_driver_update,
    (_STORAGE, "CSIStorageCapacity"): storage.validate_capacity_update,
    (_STORAGE, "VolumeAttachment"): storage.validate_attachment_update,
    (_STORAGE, "VolumeAttributesClass"): storage.validate_attributes_class_update,
    ("v1", "ResourceQuota"): policy.validate_quota_update,
    ("scheduling.k8s.io/v1", "PriorityClass"): policy.validate_priority_class_update,
    ("node.k8s.io/v1", "RuntimeClass"): policy.validate_runtime_class_update,
    (_NETWORKING, "IngressClass"): networking.validate_ingress_class_update,
    (_NETWORKING, "IPAddress"): networking.validate_ip_address_update,
    (_NETWORKING, "ServiceCIDR"): networking.validate_service_cidr_update,
    (_RBAC, "RoleBinding"): rbac.validate_binding_update,
    (_RBAC, "ClusterRoleBinding"): rbac.validate_binding_update,
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): certificates.validate_update,
    (_DEVICES, "ResourceClaim"): devices.validate_fixed_spec,
    (_DEVICES, "ResourceClaimTemplate"): devices.validate_fixed_spec,
    (_DEVICES, "ResourceSlice"): devices.validate_slice_update,
}


def _kind(obj: Object) -> tuple[str, str]:
    return obj.get("apiVersion", ""), obj.get("kind", "")


def validate_create(obj: Object) -> list[Cause]:
    """Every reason why the object may not be created; none: it may."""
    errors = Errors()
    metadata.validate(obj, errors)
    rule = _NEW.get(_kind(obj)) or _CREATE.get(_kind(obj))
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
