"""Defaults of services, endpoints, endpoint slices and network policies."""

from __future__ import annotations

from cluster.machinery.defaulting.values import Object, default, default_zero, items, part

AFFINITY_TIMEOUT_S = 10800


def apply_service(obj: Object) -> None:
    """Type, affinity, traffic policies and ports; addresses are the registry's business."""
    spec = part(obj, "spec")
    default(spec, "sessionAffinity", "None")
    default(spec, "type", "ClusterIP")
    _affinity(spec)
    for port in items(spec, "ports"):
        default(port, "protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    _traffic(spec)


def _affinity(spec: Object) -> None:
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = part(part(spec, "sessionAffinityConfig"), "clientIP")
        default(client, "timeoutSeconds", AFFINITY_TIMEOUT_S)


def _traffic(spec: Object) -> None:
    type_ = spec["type"]
    if type_ in ("NodePort", "LoadBalancer") or (type_ == "ClusterIP" and spec.get("externalIPs")):
        default(spec, "externalTrafficPolicy", "Cluster")
    if type_ in ("ClusterIP", "NodePort", "LoadBalancer"):
        default(spec, "internalTrafficPolicy", "Cluster")
    if type_ == "LoadBalancer":
        default(spec, "allocateLoadBalancerNodePorts", True)


def apply_endpoints(obj: Object) -> None:
    """Ports speak TCP."""
    for subset in items(obj, "subsets"):
        for port in items(subset, "ports"):
            default(port, "protocol", "TCP")


def apply_endpoint_slice(obj: Object) -> None:
    """Ports speak TCP and have the empty name."""
    for endpoint in items(obj, "endpoints"):
        part(endpoint, "conditions")
    for port in items(obj, "ports"):
        port.setdefault("name", "")
        default(port, "protocol", "TCP")


def apply_network_policy(obj: Object) -> None:
    """Ingress always, Egress where there are rules for it; all pods, if none are named."""
    spec = part(obj, "spec")
    part(spec, "podSelector")
    for rule in [*items(spec, "ingress"), *items(spec, "egress")]:
        for port in items(rule, "ports"):
            default(port, "protocol", "TCP")
    default_zero(spec, "policyTypes", ["Ingress", *(["Egress"] if spec.get("egress") else [])])


def apply_ingress_class(obj: Object) -> None:
    """Parameters are cluster-scoped."""
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None:
        default(parameters, "scope", "Cluster")
