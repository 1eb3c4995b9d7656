"""Decode, check, prune, default and validate together: whatever a client sends, no exception."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.machinery import defaulting, schema, strict
from cluster.machinery.patch import strategic
from cluster.machinery.validation import validate_create, validate_update

Object = dict[str, Any]

TEMPLATE: Object = {
    "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
    "spec": {
        "containers": [{
            "name": "c", "image": "i:1", "command": ["x"], "securityContext": {"runAsUser": 1},
            "ports": [{"containerPort": 80, "hostPort": 80, "name": "web", "protocol": "TCP"}],
            "env": [{"name": "A", "value": "b"},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}],
            "envFrom": [{"secretRef": {"name": "s"}, "prefix": "P"}],
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}},
            "volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "y"}],
            "livenessProbe": {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 3},
            "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
        }],
        "initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always"}],
        "volumes": [
            {"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}},
            {"name": "w", "projected": {"sources": [{"secret": {"name": "s"}}, {"downwardAPI": {
                "items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
            {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "h", "hostPath": {"path": "/"}},
        ],
        "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 3}],
        "nodeSelector": {"x": "y"}, "hostNetwork": True, "restartPolicy": "Always",
        "readinessGates": [{"conditionType": "x"}], "schedulingGates": [{"name": "g"}],
    },
}  # fmt: skip
SELECTOR: Object = {
    "matchLabels": {"a": "b"},
    "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
}  # fmt: skip
META: Object = {
    "name": "x", "namespace": "n", "labels": {"a": "b"}, "finalizers": ["x/y"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": "u",
                         "controller": True}],
}  # fmt: skip


def made(api_version: str, kind: str, **more: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": META, **more}


OBJECTS = [
    made("v1", "Pod", spec=TEMPLATE["spec"]),
    made("apps/v1", "Deployment", spec={
        "replicas": 1, "selector": SELECTOR, "template": TEMPLATE,
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "5%"}}}),
    made("apps/v1", "StatefulSet", spec={
        "selector": SELECTOR, "template": TEMPLATE, "updateStrategy": {"rollingUpdate": {}},
        "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": {}}]}),
    made("apps/v1", "DaemonSet", spec={"selector": SELECTOR, "template": TEMPLATE,
                                       "updateStrategy": {"rollingUpdate": {}}}),
    made("batch/v1", "CronJob", spec={"schedule": "* * * * *", "jobTemplate": {"spec": {
        "template": TEMPLATE, "podFailurePolicy": {"rules": [{"action": "Ignore",
            "onPodConditions": [{"type": "x"}]}]}}}}),
    made("v1", "Service", spec={
        "type": "LoadBalancer", "selector": {"a": "b"}, "clusterIP": "127.2.0.1",
        "clusterIPs": ["127.2.0.1"], "externalIPs": ["127.3.0.1"], "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 3}},
        "ports": [{"name": "a", "port": 80, "nodePort": 30000, "targetPort": "web"}]}),
    made("v1", "ConfigMap", data={"a": "b"}, binaryData={"c": "ZA=="}, immutable=True),
    made("v1", "Secret", data={"tls.crt": "", "tls.key": ""}, type="kubernetes.io/tls"),
    made("v1", "Node", spec={"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDRs": ["x"]},
         status={"capacity": {"cpu": "1"}}),
    made("v1", "Namespace"),
    made("v1", "Endpoints", subsets=[{"addresses": [{"ip": "127.1.1.1"}], "ports": [{"port": 1}]}]),
    made("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", ports=[{"port": 80}],
         endpoints=[{"addresses": ["127.1.1.1"], "hostname": "h"}]),
    made("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 1,
                                                  "leaseTransitions": 2}),
    made("v1", "Event", involvedObject={"namespace": "n"}, source={"component": "c"}, count=1),
    made("networking.k8s.io/v1", "NetworkPolicy", spec={"ingress": [{"ports": [{"port": 1}]}]}),
]  # fmt: skip
FIXED = ("apiVersion", "kind")
VALUES = st.sampled_from([None, "", "-", 0, -1, 5, True, False, {}, [], [None], {"a": None}, "x y"])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in pairs:
        found.append((*path, key))
        if isinstance(item, dict | list):
            found += places(item, (*path, key))
    return found


def written(obj: Object) -> Object | None:
    """What the server does before validation; None where it answers 400."""
    type_name = schema.type_for(obj["apiVersion"], obj["kind"])
    assert type_name is not None
    if strict.check_types(obj, type_name):
        return None
    strict.check(obj, type_name)
    strict.prune(obj, type_name)
    obj.setdefault("metadata", {})
    defaulting.apply(obj)
    return obj


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_mistake_of_a_client_raises(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from(OBJECTS))
    obj = copy.deepcopy(original)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([p for p in places(obj) if p[0] not in FIXED]))
        target: Any = obj
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = copy.deepcopy(data.draw(VALUES))  # never shared, so never a cycle
    old = written(copy.deepcopy(original))
    new = written(obj)
    if old is None or new is None:
        return
    once = copy.deepcopy(new)
    defaulting.apply(new)
    assert new == once
    for cause in [*validate_create(new), *validate_update(new, old)]:
        assert cause.reason.startswith("FieldValue")
        assert cause.message


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_strategic_patch_with_the_object_itself_changes_nothing(data: st.DataObject) -> None:
    obj = data.draw(st.sampled_from(OBJECTS))
    type_name = schema.type_for(obj["apiVersion"], obj["kind"])
    assert type_name is not None
    assert strategic.apply(obj, obj, type_name) == obj
