"""The commonest mistakes, and what the server says of them."""

import copy
from typing import Any

import pytest

from cluster.machinery import defaulting
from cluster.machinery.validation import validate_create, validate_update

Object = dict[str, Any]
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def pod(**spec: Any) -> Object:
    base = {"containers": [{"name": "c", "image": "i"}], **spec}
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": base,
    }
    defaulting.apply(obj)
    return obj


def container(**more: Any) -> Object:
    return pod(containers=[{"name": "c", "image": "i", **more}])


def deployment(**spec: Any) -> Object:
    base = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
                     "spec": {"containers": [{"name": "c", "image": "i"}]}}, **spec,
    }  # fmt: skip
    obj = {"apiVersion": "apps/v1", "kind": "Deployment",
           "metadata": {"name": "d", "namespace": "n"}, "spec": base}  # fmt: skip
    defaulting.apply(obj)
    return obj


def service(**spec: Any) -> Object:
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"},
           "spec": {"ports": [{"port": 80}], **spec}}  # fmt: skip
    defaulting.apply(obj)
    return obj


def plain(api_version: str, kind: str, **more: Any) -> Object:
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "n"}}
    obj.update(more)
    defaulting.apply(obj)
    return obj


def named(name: str, kind: str = "ConfigMap", **meta: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n", **meta}}


def texts(obj: Object) -> list[str]:
    return [str(cause) for cause in validate_create(obj)]


@pytest.mark.parametrize(
    "obj",
    [
        pod(), deployment(), service(), named("a.b-c"), named("x", generateName="x-"),
        pod(tolerations=[{"operator": "Exists"}], volumes=[{"name": "v", "emptyDir": {}}]),
        container(ports=[{"containerPort": 80, "name": "web"}],
                  env=[{"name": "A", "value": "b"},
                       {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                  readinessProbe={"httpGet": {"port": "web"}},
                  resources={"requests": {"cpu": "1", "memory": "1Gi"}}),
        plain("v1", "Secret", data={"a": "Yg=="}), service(clusterIP="None", ports=[]),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}},
        plain("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 15}),
        plain("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4",
              endpoints=[{"addresses": ["127.1.2.3"]}], ports=[{"port": 80}]),
        plain("v1", "Endpoints", subsets=[{"addresses": [{"ip": "127.1.2.3"}],
                                           "ports": [{"port": 80}]}]),
        plain("v1", "ServiceAccount"),
        plain("v1", "Event", involvedObject={"namespace": "n", "kind": "Pod", "name": "p"}),
        plain("batch/v1", "CronJob", spec={"schedule": "*/5 0-3 * * MON,FRI", "jobTemplate": {
            "spec": {"template": {"spec": {"restartPolicy": "Never",
                                           "containers": [{"name": "c", "image": "i"}]}}}}}),
    ],
)  # fmt: skip
def test_what_is_right_passes(obj: Object) -> None:
    assert texts(obj) == []
    assert validate_update(obj, copy.deepcopy(obj)) == []


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        # metadata
        (named("Foo"), f'metadata.name: Invalid value: "Foo": {SUBDOMAIN}'),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "n"}},
         "metadata.name: Required value: name or generateName is required"),
        (named("a", labels={"x": "-"}), 'metadata.labels: Invalid value: "-": a valid label must '
         "be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
         "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
         "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"),
        (named("a", labels={"/x": ""}),
         'metadata.labels: Invalid value: "/x": prefix part must be non-empty'),
        (named("a", annotations={"a": "b" * 300_000}),
         "metadata.annotations: Too long: may not be more than 262144 bytes"),
        ({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "namespace": "x"}},
         "metadata.namespace: Forbidden: not allowed on this type"),
        # containers
        (pod(containers=[]), "spec.containers: Required value"),
        (pod(containers=[{"name": "c"}]), "spec.containers[0].image: Required value"),
        (pod(containers=[{"image": "i"}]), "spec.containers[0].name: Required value"),
        (pod(containers=[{"name": "c", "image": "i"}] * 2),
         'spec.containers[1].name: Duplicate value: "c"'),
        (container(imagePullPolicy="Sometimes"), 'spec.containers[0].imagePullPolicy: Unsupported '
         'value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"'),
        (container(ports=[{"containerPort": 70000}]), "spec.containers[0].ports[0].containerPort: "
         "Invalid value: 70000: must be between 1 and 65535, inclusive"),
        (container(ports=[{}]), "spec.containers[0].ports[0].containerPort: Required value"),
        (container(ports=[{"containerPort": 1, "name": "web"}, {"containerPort": 2,
                                                                "name": "web"}]),
         'spec.containers[0].ports[1].name: Duplicate value: "web"'),
        (container(ports=[{"containerPort": 1, "protocol": "ICMP"}]),
         'spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: '
         '"SCTP", "TCP", "UDP"'),
        (container(env=[{"name": "a=b"}]), 'spec.containers[0].env[0].name: Invalid value: "a=b": '
         "a valid environment variable name must consist only of printable ASCII characters "
         "other than '='"),
        (container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]),
         'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.x": error '
         "converting fieldPath: field label not supported: spec.x"),
        (container(env=[{"name": "A", "value": "b",
                         "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
         'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when '
         "`value` is not empty"),
        (container(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
         'spec.containers[0].volumeMounts[0].name: Not found: "v"'),
        (container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
         'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal '
         "to cpu limit of 1"),
        (container(resources={"limits": {"memory": "-1"}}), "spec.containers[0].resources."
         'limits[memory]: Invalid value: "-1": must be greater than or equal to 0'),
        (container(livenessProbe={}),
         "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
        (container(livenessProbe={"exec": {"command": ["x"]}, "successThreshold": 2}),
         "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"),
        (container(livenessProbe={"tcpSocket": {"port": 0}}), "spec.containers[0].livenessProbe."
         "tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        # pods
        (pod(restartPolicy="Maybe"), 'spec.restartPolicy: Unsupported value: "Maybe": supported '
         'values: "Always", "OnFailure", "Never"'),
        (pod(volumes=[{"name": "v", "configMap": {}}]),
         "spec.volumes[0].configMap.name: Required value"),
        (pod(volumes=[{"name": "v"}, {"name": "v"}]),
         'spec.volumes[1].name: Duplicate value: "v"'),
        (pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]),
         "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"),
        (pod(volumes=[{"name": "v", "secret": {"secretName": "s", "defaultMode": 1000}}]),
         "spec.volumes[0].secret.defaultMode: Invalid value: 1000: must be a number between 0 and "
         "0777 (octal), both inclusive"),
        (pod(tolerations=[{"operator": "Equal", "value": "x"}]), "spec.tolerations[0].operator: "
         'Invalid value: "Equal": operator must be Exists when `key` is empty, which means '
         '"match all values and all keys"'),
        (pod(activeDeadlineSeconds=0), "spec.activeDeadlineSeconds: Invalid value: 0: must be "
         "between 1 and 2147483647, inclusive"),
        # workloads
        (deployment(selector=None), "spec.selector: Required value"),
        (deployment(selector={"matchLabels": {"a": "z"}}), "spec.template.metadata.labels: Invalid "
         'value: {"a":"b"}: `selector` does not match template `labels`'),
        (deployment(selector={}),
         "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        (deployment(replicas=-1),
         "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),
         "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is "
         "'Recreate'"),
        (deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
         "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when "
         "`maxSurge` is 0"),
        (deployment(progressDeadlineSeconds=5, minReadySeconds=5),
         "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"),
        # services
        (service(ports=[]), "spec.ports: Required value"),
        (service(type="Public"), 'spec.type: Unsupported value: "Public": supported values: '
         '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'),
        (service(ports=[{"port": 80}, {"port": 81, "name": "x"}]),
         "spec.ports[0].name: Required value"),
        (service(type="ExternalName"), "spec.externalName: Required value"),
        (service(clusterIPs=["x"]), 'spec.clusterIPs[0]: Invalid value: "x": must be a valid IP '
         "address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        # others
        (plain("v1", "ConfigMap", data={"a b": "c"}), 'data[a b]: Invalid value: "a b": a valid '
         "config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
         "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"),
        (plain("v1", "ConfigMap", data={"a": "b" * (2**20 + 1)}),
         ": Too long: may not be more than 1048576 bytes"),
        (plain("v1", "Secret", type="kubernetes.io/tls", data={"tls.crt": ""}),
         "data[tls.key]: Required value"),
        (plain("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 0}),
         "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
        (plain("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4",
               endpoints=[{"addresses": ["::1"]}]),
         'endpoints[0].addresses[0]: Invalid value: "::1": must be an IPv4 address'),
        (plain("v1", "Endpoints", subsets=[{}]),
         "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        (plain("v1", "Event", involvedObject={"namespace": "other"}),
         'involvedObject.namespace: Invalid value: "other": does not match event.namespace'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_as_upstream_tells_it(obj: Object, text: str) -> None:
    assert text in texts(obj)


def test_names_of_services_and_namespaces_are_stricter() -> None:
    assert "DNS-1035" in texts(named("1a", kind="Service") | {"spec": service()["spec"]})[0]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}
    assert "RFC 1123 label" in texts(namespace)[0]


def changed(obj: Object, path: str, value: Any) -> list[str]:
    new = copy.deepcopy(obj)
    *steps, last = path.split(".")
    target: Any = new
    for step in steps:
        target = target[int(step)] if step.isdigit() else target.setdefault(step, {})
    target[last] = value
    return [str(cause) for cause in validate_update(new, obj)]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.containers.0.image", "other:1"),
        ("spec.activeDeadlineSeconds", 5),
        ("spec.tolerations", [{"key": "a", "operator": "Exists"}]),
        ("metadata.labels", {"x": "y"}),
        ("status.phase", "Running"),
    ],
)
def test_some_of_a_pod_may_change(path: str, value: Any) -> None:
    assert changed(pod(), path, value) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [("spec.containers.0.command", ["x"]), ("spec.nodeName", "n"), ("spec.restartPolicy", "Never"),
     ("spec.hostname", "h"), ("spec.containers.0.resources", {"limits": {"cpu": "1"}})],
)  # fmt: skip
def test_the_rest_of_a_pod_may_not(path: str, value: Any) -> None:
    (text,) = changed(pod(), path, value)
    assert text.startswith("spec: Forbidden: pod updates may not change fields other than")


def test_a_pod_is_bound_through_its_subresource() -> None:
    new = pod() | {}
    new = copy.deepcopy(new)
    new["spec"]["nodeName"] = "n"
    assert validate_update(new, pod(), subresource="binding") == []


def test_an_existing_toleration_may_not_go() -> None:
    old = pod(tolerations=[{"key": "a", "operator": "Exists"}])
    assert "existing toleration can not be modified" in changed(old, "spec.tolerations", [])[0]


@pytest.mark.parametrize(
    ("obj", "path", "value", "text"),
    [
        (pod(), "metadata.name", "q", 'metadata.name: Invalid value: "q": field is immutable'),
        (deployment(), "spec.selector", {"matchLabels": {"a": "b", "c": "d"}},
         'spec.selector: Invalid value: {"matchLabels":{"a":"b","c":"d"}}: field is immutable'),
        (service(clusterIPs=["127.2.0.9"]), "spec.clusterIPs", ["127.2.0.8"],
         'spec.clusterIPs[0]: Invalid value: ["127.2.0.8"]: may not change once set'),
        (plain("v1", "Secret"), "type", "x", 'type: Invalid value: "x": field is immutable'),
        (plain("v1", "ConfigMap", immutable=True, data={"a": "b"}), "data", {},
         "data: Forbidden: field is immutable when `immutable` is set"),
        (plain("v1", "ConfigMap", immutable=True), "immutable", False,
         "immutable: Forbidden: field is immutable when `immutable` is set"),
        (named("a", deletionTimestamp="2026-01-02T03:04:05Z"), "metadata.finalizers", ["x/y"],
         "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being "
         'deleted, found new finalizers []string{"x/y"}'),
    ],
)  # fmt: skip
def test_what_may_not_change(obj: Object, path: str, value: Any, text: str) -> None:
    assert text in changed(obj, path, value)
