"""Upstream's defaults: what an object gets for the fields that it leaves out.

Belongs here: defaults that follow from the object alone. Does not: what needs the cluster
(addresses, service accounts, limit ranges) or the request (names, uids, time).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.machinery.customresources import defaulting as definitions
from cluster.machinery.defaulting import core, networking, others, pods, registration, workloads

Object = dict[str, Any]

_BY_KIND: dict[tuple[str, str], Callable[[Object], None]] = {
    ("v1", "Pod"): pods.apply_pod,
    ("v1", "PodTemplate"): pods.apply_pod_template,
    ("v1", "Service"): networking.apply_service,
    ("v1", "Endpoints"): networking.apply_endpoints,
    ("discovery.k8s.io/v1", "EndpointSlice"): networking.apply_endpoint_slice,
    ("networking.k8s.io/v1", "NetworkPolicy"): networking.apply_network_policy,
    ("networking.k8s.io/v1", "IngressClass"): networking.apply_ingress_class,
    ("v1", "Namespace"): core.apply_namespace,
    ("v1", "Node"): core.apply_node,
    ("v1", "Secret"): core.apply_secret,
    ("v1", "PersistentVolume"): core.apply_persistent_volume,
    ("v1", "PersistentVolumeClaim"): core.apply_persistent_volume_claim,
    ("v1", "ReplicationController"): workloads.apply_replication_controller,
    ("apps/v1", "Deployment"): workloads.apply_deployment,
    ("apps/v1", "ReplicaSet"): workloads.apply_replica_set,
    ("apps/v1", "StatefulSet"): workloads.apply_stateful_set,
    ("apps/v1", "DaemonSet"): workloads.apply_daemon_set,
    ("batch/v1", "Job"): workloads.apply_job,
    ("batch/v1", "CronJob"): workloads.apply_cron_job,
    ("storage.k8s.io/v1", "StorageClass"): others.apply_storage_class,
    ("storage.k8s.io/v1", "CSIDriver"): others.apply_csi_driver,
    ("scheduling.k8s.io/v1", "PriorityClass"): others.apply_priority_class,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): others.apply_autoscaler,
    ("autoscaling/v1", "HorizontalPodAutoscaler"): others.apply_old_autoscaler,
    ("v1", "LimitRange"): others.apply_limit_range,
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): definitions.apply,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): others.apply_binding,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): others.apply_binding,
    (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
    ): registration.apply_webhooks,
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    ): registration.apply_webhooks,
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
    ): registration.apply_admission_policy,
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): (
        registration.apply_admission_policy_binding
    ),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"): registration.apply_flow_schema,
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration"): (
        registration.apply_priority_level
    ),
    ("apiregistration.k8s.io/v1", "APIService"): registration.apply_api_service,
    ("resource.k8s.io/v1", "ResourceClaim"): registration.apply_resource_claim,
    ("resource.k8s.io/v1", "ResourceClaimTemplate"): registration.apply_resource_claim_template,
}


def apply(obj: Object) -> None:
    """Fill in, in place, what the object's kind has defaults for; other kinds stay as they are.

    Applying twice changes nothing more.
    """
    rule = _BY_KIND.get((obj.get("apiVersion", ""), obj.get("kind", "")))
    if rule is not None:
        rule(obj)
