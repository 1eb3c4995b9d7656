"""Defaults, as a real API server fills them in."""

import copy
from typing import Any

import pytest

from cluster.machinery import defaulting


def defaulted(obj: dict[str, Any]) -> dict[str, Any]:
    defaulting.apply(obj)
    once = copy.deepcopy(obj)
    defaulting.apply(obj)
    assert obj == once, "applying twice changes nothing more"
    return obj


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    return defaulted({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec})["spec"]  # type: ignore[no-any-return]


def test_a_plain_pod_gets_upstreams_defaults() -> None:
    assert pod({"containers": [{"name": "c", "image": "nginx:1.2"}]}) == {
        "containers": [{
            "name": "c", "image": "nginx:1.2", "imagePullPolicy": "IfNotPresent", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        }],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "enableServiceLinks": True,
        "schedulerName": "default-scheduler", "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "policy"),
    [("a", "Always"), ("a:latest", "Always"), ("a:1", "IfNotPresent"), ("h:5000/a", "Always"),
     ("a@sha256:00", "IfNotPresent"), ("h:5000/a:1", "IfNotPresent"), ("", "Always")],
)  # fmt: skip
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    container = pod({"containers": [{"name": "c", "image": image}]})["containers"][0]
    assert container["imagePullPolicy"] == policy


def test_what_is_set_stays_even_if_it_is_zero_or_false() -> None:
    spec = pod({"containers": [], "terminationGracePeriodSeconds": 0, "enableServiceLinks": False,
                "restartPolicy": "Never"})  # fmt: skip
    assert spec["terminationGracePeriodSeconds"] == 0
    assert spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] == "Never"


def test_probes_ports_and_references_inside_containers_get_theirs() -> None:
    container = pod({"containers": [{
        "name": "c", "image": "a", "ports": [{"containerPort": 80}],
        "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0},
        "readinessProbe": {"exec": {"command": ["x"]}, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"httpGet": {"port": 1}}},
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
    }]})["containers"][0]  # fmt: skip
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
        "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip
    assert container["readinessProbe"]["timeoutSeconds"] == 5
    assert container["lifecycle"]["preStop"]["httpGet"]["scheme"] == "HTTP"
    assert container["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_volumes_get_their_modes_and_a_bare_one_is_an_empty_folder() -> None:
    volumes = pod({"containers": [], "volumes": [
        {"name": "a"}, {"name": "b", "configMap": {"name": "m"}}, {"name": "c", "emptyDir": {}},
        {"name": "d", "secret": {"secretName": "s", "defaultMode": 256}},
        {"name": "e", "hostPath": {"path": "/x"}},
        {"name": "f", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {
            "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "x"}}]}}]}},
    ]})["volumes"]  # fmt: skip
    assert volumes[0] == {"name": "a", "emptyDir": {}}
    assert volumes[1]["configMap"]["defaultMode"] == 420
    assert volumes[2] == {"name": "c", "emptyDir": {}}
    assert volumes[3]["secret"]["defaultMode"] == 256
    assert volumes[4]["hostPath"]["type"] == ""
    sources = volumes[5]["projected"]["sources"]
    assert sources[0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert sources[1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"


def test_a_deployment_rolls_a_quarter_at_a_time() -> None:
    template = {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
    spec = defaulted({"apiVersion": "apps/v1", "kind": "Deployment",
                      "spec": {"template": template}})["spec"]  # fmt: skip
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }  # fmt: skip
    assert spec["revisionHistoryLimit"] == 10
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert "enableServiceLinks" not in spec["template"]["spec"]


def test_a_deployment_that_recreates_has_no_rolling_update() -> None:
    spec = defaulted({"apiVersion": "apps/v1", "kind": "Deployment",
                      "spec": {"strategy": {"type": "Recreate"},
                               "replicas": 0}})["spec"]  # fmt: skip
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["replicas"] == 0


def test_a_service_gets_type_affinity_policies_and_target_ports() -> None:
    spec = defaulted({"apiVersion": "v1", "kind": "Service",
                      "spec": {"ports": [{"port": 80},
                                         {"port": 1, "targetPort": "web"}]}})["spec"]  # fmt: skip
    assert spec == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80},
                  {"port": 1, "protocol": "TCP", "targetPort": "web"}],
        "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
    }  # fmt: skip


def test_a_balanced_service_with_affinity_gets_more() -> None:
    spec = defaulted({"apiVersion": "v1", "kind": "Service", "spec": {
        "type": "LoadBalancer", "sessionAffinity": "ClientIP"}})["spec"]  # fmt: skip
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    assert spec["externalTrafficPolicy"] == "Cluster"
    assert spec["allocateLoadBalancerNodePorts"] is True


@pytest.mark.parametrize(
    ("obj", "path", "value"),
    [
        ({"apiVersion": "v1", "kind": "Secret"}, "type", "Opaque"),
        ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}, "status.phase",
         "Active"),
        ({"apiVersion": "v1", "kind": "Node", "status": {"capacity": {"cpu": "1"}}},
         "status.allocatable.cpu", "1"),
        ({"apiVersion": "apps/v1", "kind": "ReplicaSet"}, "spec.replicas", 1),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet"}, "spec.podManagementPolicy",
         "OrderedReady"),
        ({"apiVersion": "apps/v1", "kind": "DaemonSet"},
         "spec.updateStrategy.rollingUpdate.maxUnavailable", 1),
        ({"apiVersion": "batch/v1", "kind": "Job"}, "spec.backoffLimit", 6),
        ({"apiVersion": "batch/v1", "kind": "CronJob"}, "spec.successfulJobsHistoryLimit", 3),
        ({"apiVersion": "v1", "kind": "PersistentVolumeClaim"}, "status.phase", "Pending"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}, "data.a", "b"),
    ],
)  # fmt: skip
def test_other_kinds(obj: dict[str, Any], path: str, value: Any) -> None:
    found: Any = defaulted(obj)
    for step in path.split("."):
        found = found[step]
    assert found == value


def test_a_namespace_is_labelled_with_its_name() -> None:
    obj = defaulted({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}


def test_what_a_secret_gives_as_text_is_stored_as_data() -> None:
    obj = defaulted(
        {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA=="}, "stringData": {"b": "y"}}
    )
    assert obj["data"] == {"a": "eA==", "b": "eQ=="}
    assert "stringData" not in obj
