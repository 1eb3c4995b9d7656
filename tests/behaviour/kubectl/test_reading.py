"""get in all its forms, describe, explain, events, discovery: what kubectl reads and prints."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

import pytest

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture
def three(kubectl: Any) -> Any:
    for name in ("b", "a", "c"):
        kubectl("create", "configmap", name, f"--from-literal=k={name}")
        kubectl("label", "configmap", name, f"own={name}")
    return kubectl


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()]


def test_a_list_is_asked_for_as_a_table_in_chunks(three: Any) -> None:
    lines = three("get", "configmaps")
    assert names(lines) == ["NAME", "a", "b", "c", "kube-root-ca.crt"]
    listed = three.request("GET", "/configmaps")
    assert listed.accept.startswith(TABLE)
    assert listed.query["limit"] == ["500"]
    three("get", "configmaps", "--chunk-size=2")
    pages = [s for s in three.sent if s.path.endswith("/configmaps")]
    assert [s.query["limit"] for s in pages] == [["2"], ["2"]]
    assert "continue" in pages[1].query


FORMS = {
    "name": "configmap/a\n",
    "jsonpath={.data.k}": "a",
    "jsonpath-as-json={.data.k}": '[\n    "a"\n]\n',
    "go-template={{.data.k}}": "a",
    "template={{.data.k}}": "a",
    "custom-columns=NAME:.metadata.name,K:.data.k": "NAME   K\na      a\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_output(three: Any, form: str) -> None:
    assert three("get", "configmap", "a", "-o", form) == FORMS[form]


def test_json_yaml_kyaml_and_wide(three: Any) -> None:
    assert json.loads(three("get", "cm", "a", "-o", "json"))["data"] == {"k": "a"}
    assert "kind: ConfigMap" in three("get", "cm", "a", "-o", "yaml")
    assert json.loads(three("get", "cm", "-o", "json"))["kind"] == "List"
    three("run", "p", "--image=i")
    three.until("pod/p", "--for=condition=Ready")
    header, row = three("get", "pod", "p", "-o", "wide").splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row.split()[6] in ("n1", "n2")


def test_sorting_labels_and_kinds(three: Any) -> None:
    lines = three("get", "cm", "--sort-by=.data.k", "--no-headers")
    assert three.request("GET", "/configmaps").query["includeObject"] == ["Object"]
    assert names(lines)[-3:] == ["a", "b", "c"]
    assert three("get", "cm", "a", "-L", "own").splitlines()[0].split()[-1] == "OWN"
    assert three("get", "cm", "a", "--show-labels").rstrip().endswith("own=a")
    assert "configmap/a" in three("get", "cm", "--show-kind")
    both = three("get", "cm/a", "sa/default")
    assert "configmap/a" in both
    assert "serviceaccount/default" in both


def test_selectors(three: Any) -> None:
    assert names(three("get", "cm", "-l", "own in (a,b)", "--no-headers")) == ["a", "b"]
    assert names(three("get", "cm", "-l", "own,own!=a", "--no-headers")) == ["b", "c"]
    field = "--field-selector=metadata.name!=a,metadata.name!=kube-root-ca.crt"
    assert names(three("get", "cm", field, "--no-headers")) == ["b", "c"]
    said = three("get", "cm", "--field-selector=data.k=a", ok=False)
    assert said == (
        'Error from server (BadRequest): Unable to find "/v1, Resource=configmaps" that match '
        'label selector "", field selector "data.k=a": field label not supported: data.k\n'
    )
    said = three("get", "cm", "-l", "own in (a", ok=False)
    assert "unable to parse requirement: found '', expected: ',' or ')'" in said
    everywhere = three("get", "cm", "-A", "-l", "own=a", "--no-headers").split()
    assert everywhere[:2] == [three.namespace, "a"]


def test_what_is_not_there(three: Any) -> None:
    assert 'configmaps "none" not found' in three("get", "cm", "none", ok=False)
    assert three("get", "cm", "none", "--ignore-not-found") == ""
    said = three("get", "nonsense", ok=False)
    assert said == 'error: the server doesn\'t have a resource type "nonsense"\n'
    said = three("get", "secrets")
    assert said == ""


def test_get_all_goes_by_category(kubectl: Any) -> None:
    kubectl("create", "deployment", "web", "--image=i")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    found = kubectl("get", "all", "-o", "name").split()
    assert sorted({name.partition("/")[0] for name in found}) == [
        "deployment.apps", "pod", "replicaset.apps"
    ]  # fmt: skip


def test_get_watches_tables(three: Any) -> None:
    command = three.cluster.command(
        "-n", three.namespace, "get", "cm", "-l", "own=a", "-w", "--output-watch-events"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(30, process.kill)
        timer.start()
        assert process.stdout is not None
        read = process.stdout.readline
        assert read().split() == ["EVENT", "NAME", "DATA", "AGE"]
        assert read().split()[:3] == ["ADDED", "a", "1"]
        three("patch", "cm", "a", "-p", '{"data":{"l":"m"}}')
        assert read().split()[:3] == ["MODIFIED", "a", "2"]
        three("label", "cm", "a", "own-")
        assert read().split()[:3] == ["DELETED", "a", "2"]
        process.kill()
        timer.cancel()
    watched = [s for s in three.cluster.sent if s.query.get("watch") == ["true"]][-1]
    assert watched.accept.startswith(TABLE)


def test_raw_paths_and_subresources(kubectl: Any) -> None:
    assert json.loads(kubectl("get", "--raw", "/version"))["minor"] == "34"
    assert "[+]ping ok" in kubectl("get", "--raw", "/readyz?verbose")
    kubectl("create", "deployment", "web", "--image=i")
    assert "deployment.apps/web" in kubectl(
        "get", "deploy", "web", "--subresource=status", "-o", "name"
    )
    assert "NotFound" in kubectl("get", "--raw", "/apis/none/v1", ok=False)


def test_events_of_objects(kubectl: Any) -> None:
    kubectl("run", "p", "--image=i")
    kubectl.until("pod/p", "--for=condition=Ready")
    lines = kubectl("events", "--for=pod/p").splitlines()
    assert lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert f"Successfully assigned {kubectl.namespace}/p to n" in lines[1]
    listed = kubectl.request("GET", "/events")
    assert "involvedObject.name=p" in listed.query["fieldSelector"][0]
    shown = kubectl("get", "events", "--field-selector=involvedObject.kind=Pod,reason=Scheduled")
    assert "pod/p" in shown


def test_describe_reads_objects_and_their_events(kubectl: Any) -> None:
    kubectl("run", "p", "--image=i")
    kubectl.until("pod/p", "--for=condition=Ready")
    said = kubectl("describe", "pod", "p")
    for line in ("Service Account:  default", "Status:           Running", "QoS Class:"):
        assert line in said
    assert "Successfully assigned" in said
    events = kubectl.request("GET", "/events")
    assert "involvedObject.uid=" in events.query["fieldSelector"][0]
    node = kubectl("describe", "node", "n1")
    assert "Non-terminated Pods:" in node
    assert any(s.path.endswith("/kube-node-lease/leases/n1") for s in kubectl.sent)
    kubectl("create", "deployment", "web", "--image=i")
    assert "OldReplicaSets:" in kubectl("describe", "deployment", "web")
    kubectl("create", "quota", "q", "--hard=pods=9")
    assert "Resource Quotas" in kubectl("describe", "namespace", kubectl.namespace)


def test_explain_reads_version_three_of_the_schema(kubectl: Any) -> None:
    said = kubectl("explain", "deployment.spec.strategy")
    assert "GROUP:      apps" in said
    assert "rollingUpdate\t<RollingUpdateDeployment>" in said
    assert "/openapi/v3/apis/apps/v1" in {s.path for s in kubectl.sent}
    assert "containers\t<[]Container> -required-" in kubectl("explain", "pod.spec")
    assert "VERSION:    v2" in kubectl("explain", "hpa")
    assert "VERSION:    v1\n" in kubectl("explain", "hpa", "--api-version=autoscaling/v1")
    assert "-required-" in kubectl("explain", "job", "--recursive")
    assert 'field "none" does not exist' in kubectl("explain", "pod.none", ok=False)
    assert "KIND:     Pod" in kubectl("explain", "pod", "--output=plaintext-openapiv2")


def test_explain_says_what_fields_are_for(kubectl: Any) -> None:
    pytest.importorskip("kubernetes")  # whose texts they are
    said = kubectl("explain", "deployment.spec.replicas")
    assert "Number of desired pods." in said
    assert "<no description>" not in kubectl("explain", "configmap.data")
    said = kubectl("explain", "pod.spec.containers.resources.limits")
    assert "FIELD: limits <map[string]Quantity>" in said


def test_resources_and_versions_come_from_aggregated_discovery(kubectl: Any, tmp_path: Any) -> None:
    fresh = f"--cache-dir={tmp_path}"
    listed = kubectl("api-resources", fresh, "--verbs=list", "-o", "name").split()
    assert {"pods", "deployments.apps", "componentstatuses", "leases.coordination.k8s.io"} <= set(
        listed
    )
    discovered = [s for s in kubectl.sent if s.path in ("/api", "/apis")]
    assert all("as=APIGroupDiscoveryList" in s.accept for s in discovered)
    assert len(kubectl.sent) <= 3
    assert "bindings" not in listed
    grouped = kubectl("api-resources", fresh, "--api-group=batch", "--no-headers")
    assert [line.split()[0] for line in grouped.splitlines()] == ["cronjobs", "jobs"]
    assert "apps/v1" in kubectl("api-versions").split()
    assert "Server Version: v1.34" in kubectl("version")


def test_component_statuses_are_made_up_and_deprecated(kubectl: Any) -> None:
    lines = kubectl("get", "componentstatuses").splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "MESSAGE", "ERROR"]
    assert [line.split() for line in lines[1:]] == [
        ["controller-manager", "Healthy", "ok"],
        ["etcd-0", "Healthy", "ok"],
        ["scheduler", "Healthy", "ok"],
    ]
    one = kubectl.get("cs", "scheduler")
    assert one["conditions"] == [{"type": "Healthy", "status": "True", "message": "ok"}]
    said = kubectl("get", "cs", "nobody", ok=False)
    assert "Warning: v1 ComponentStatus is deprecated in v1.19+" in said
    assert 'componentstatuses "nobody" not found' in said


def test_endpoints_are_deprecated(kubectl: Any) -> None:
    said = kubectl("get", "endpoints", "none", ok=False)
    assert (
        "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    ) in said


def test_cluster_info_and_its_dump(kubectl: Any) -> None:
    assert "Kubernetes control plane" in kubectl("cluster-info")
    listed = kubectl.request("GET", "/services")
    assert listed.query["labelSelector"] == ["kubernetes.io/cluster-service=true"]
    dumped = kubectl("cluster-info", "dump", f"--namespaces={kubectl.namespace}")
    assert '"kind": "NodeList"' in dumped
    assert '"kind": "ReplicaSetList"' in dumped
