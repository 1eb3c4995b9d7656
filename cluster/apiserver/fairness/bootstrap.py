"""The priority levels and FlowSchemas that every cluster has (upstream's names and numbers)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.apiserver.context import Kept
from cluster.machinery.status import ApiError

Object = dict[str, Any]

API_VERSION = "flowcontrol.apiserver.k8s.io/v1"
AUTOUPDATE = {"apf.kubernetes.io/autoupdate-spec": "true"}
LEVELS = {
    "system": (30, 33, 64, 6),
    "node-high": (40, 25, 64, 6),
    "leader-election": (10, 0, 16, 4),
    "workload-high": (40, 50, 128, 6),
    "workload-low": (100, 90, 128, 6),
    "global-default": (20, 50, 128, 6),
}
"""name: (shares, lendable percent, queues, hand size)."""
QUEUE_LENGTH = 50
EVERYTHING: Object = {
    "verbs": ["*"],
    "apiGroups": ["*"],
    "resources": ["*"],
    "clusterScope": True,
    "namespaces": ["*"],
}
EVERY_PATH: Object = {"verbs": ["*"], "nonResourceURLs": ["*"]}
ANYBODY = ("group:system:authenticated", "group:system:unauthenticated")
CONTROLLER_MANAGER, SCHEDULER = "user:system:kube-controller-manager", "user:system:kube-scheduler"
KUBE_SYSTEM = "account:kube-system/*"


def objects() -> list[Object]:
    """Levels first."""
    return [*_levels(), *_schemas()]


def _levels() -> list[Object]:
    found = [
        _object("PriorityLevelConfiguration", "exempt", {"type": "Exempt", "exempt": _shares(0, 0)})
    ]
    reject = {**_shares(5, 0), "limitResponse": {"type": "Reject"}}
    found.append(_level("catch-all", reject))
    for name, (shares, lendable, queues, hand) in LEVELS.items():
        queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": QUEUE_LENGTH}
        response = {"type": "Queue", "queuing": queuing}
        found.append(_level(name, {**_shares(shares, lendable), "limitResponse": response}))
    return found


def _shares(shares: int, lendable: int) -> Object:
    return {"nominalConcurrencyShares": shares, "lendablePercent": lendable}


def _level(name: str, limited: Object) -> Object:
    return _object("PriorityLevelConfiguration", name, {"type": "Limited", "limited": limited})


def _schemas() -> list[Object]:
    leases = {**EVERYTHING, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    own_leases = {
        **leases,
        "verbs": ["get", "create", "update"],
        "namespaces": ["kube-system"],
        "clusterScope": False,
    }
    probes = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}
    endpoints = {
        "verbs": ["get", "create", "update"],
        "apiGroups": [""],
        "resources": ["endpoints"],
        "namespaces": ["*"],
    }
    nodes = {**EVERYTHING, "apiGroups": [""], "resources": ["nodes", "nodes/status"]}
    masters, node_group = ["group:system:masters"], ["group:system:nodes"]
    leaders = [CONTROLLER_MANAGER, SCHEDULER, KUBE_SYSTEM]
    accounts = ["group:system:serviceaccounts"]
    whole = [EVERYTHING]
    return [
        _schema("exempt", 1, "exempt", "", masters, whole, [EVERY_PATH]),
        _schema("probes", 2, "exempt", "", ANYBODY, [], [probes]),
        _schema("system-leader-election", 100, "leader-election", "ByUser", leaders, [own_leases]),
        _schema(
            "endpoint-controller", 150, "workload-high", "ByUser",
            [CONTROLLER_MANAGER, "account:kube-system/endpoint-controller"], [endpoints],
        ),
        _schema(
            "workload-leader-election", 200, "leader-election", "ByUser", [KUBE_SYSTEM],
            [{**own_leases, "namespaces": ["*"]}],
        ),
        _schema("system-node-high", 400, "node-high", "ByUser", node_group, [nodes, leases]),
        _schema("system-nodes", 500, "system", "ByUser", node_group, whole, [EVERY_PATH]),
        _schema(
            "kube-controller-manager", 800, "workload-high", "ByNamespace", [CONTROLLER_MANAGER],
            whole, [EVERY_PATH],
        ),
        _schema(
            "kube-scheduler", 800, "workload-high", "ByNamespace", [SCHEDULER], whole, [EVERY_PATH]
        ),
        _schema(
            "kube-system-service-accounts", 900, "workload-high", "ByNamespace", [KUBE_SYSTEM],
            whole, [EVERY_PATH],
        ),
        _schema("service-accounts", 9000, "workload-low", "ByUser", accounts, whole, [EVERY_PATH]),
        _schema("global-default", 9900, "global-default", "ByUser", ANYBODY, whole, [EVERY_PATH]),
        _schema("catch-all", 10000, "catch-all", "ByUser", ANYBODY, whole, [EVERY_PATH]),
    ]  # fmt: skip


def _schema(
    name: str,
    precedence: int,
    level: str,
    distinguisher: str,
    subjects: Sequence[str],
    resources: Sequence[Object],
    paths: Sequence[Object] = (),
) -> Object:
    rule: Object = {"subjects": [_subject(text) for text in subjects]}
    if resources:
        rule["resourceRules"] = list(resources)
    if paths:
        rule["nonResourceRules"] = list(paths)
    spec: Object = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    }
    if distinguisher:
        spec["distinguisherMethod"] = {"type": distinguisher}
    return _object("FlowSchema", name, spec)


def _subject(text: str) -> Object:
    kind, _, name = text.partition(":")
    if kind == "account":
        namespace, _, account = name.partition("/")
        return {
            "kind": "ServiceAccount",
            "serviceAccount": {"namespace": namespace, "name": account},
        }
    return {"kind": kind.capitalize(), kind: {"name": name}}


def _object(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "annotations": dict(AUTOUPDATE)}
    return {"kind": kind, "apiVersion": API_VERSION, "metadata": metadata, "spec": spec}


PLURALS = {
    "PriorityLevelConfiguration": "prioritylevelconfigurations",
    "FlowSchema": "flowschemas",
}


async def ensure(kept: Mapping[str, Kept]) -> None:
    """Create what is missing; what an administrator has changed stays."""
    for wanted in objects():
        place = kept[f"{API_VERSION}/{PLURALS[wanted['kind']]}"]
        registry = place.registry
        if registry.cache.get(registry.key("", wanted["metadata"]["name"])) is not None:
            continue
        try:
            await registry.create(wanted)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
