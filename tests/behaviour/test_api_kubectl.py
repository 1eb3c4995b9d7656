"""The real kubectl against an API server over MemoryStore: what a person does every day."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)
RunningApi = api_fixture.RunningApi

pytestmark = pytest.mark.skipif(api_fixture.KUBECTL is None, reason="kubectl is not on PATH")

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: x}}
spec:
  containers: [{name: c, image: busybox, ports: [{containerPort: 80}]}]
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


def test_apply_creates_then_changes_then_leaves_alone(api: Any) -> None:
    assert "pod/p1 created" in api.kubectl("apply", "-f", "-", stdin=POD % "p1")
    assert "pod/p1 unchanged" in api.kubectl("apply", "-f", "-", stdin=POD % "p1")
    changed = (POD % "p1").replace("app: x", "app: other")
    assert "pod/p1 configured" in api.kubectl("apply", "-f", "-", stdin=changed)
    assert api.get("pod", "p1")["metadata"]["labels"] == {"app": "other"}


def test_get_prints_the_usual_columns(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=POD % "columns")
    lines = api.kubectl("get", "pod", "columns", "-o", "wide").splitlines()
    assert lines[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert lines[1].split()[:4] == ["columns", "0/1", "Pending", "0"]
    assert api.kubectl("get", "pod", "columns", "-o", "name") == "pod/columns\n"


def test_typed_creates_arrive_as_protobuf_and_are_stored(api: Any) -> None:
    api.kubectl("create", "configmap", "typed", "--from-literal=a=b")
    api.kubectl("create", "secret", "generic", "typed", "--from-literal=password=s3cret")
    api.kubectl("create", "serviceaccount", "typed")
    api.kubectl("create", "deployment", "typed", "--image=nginx", "--replicas=3")
    assert api.get("cm", "typed")["data"] == {"a": "b"}
    assert api.get("secret", "typed")["data"] == {"password": "czNjcmV0"}
    assert api.get("deployment", "typed")["spec"]["replicas"] == 3


def test_label_annotate_scale_and_the_three_patches(api: Any) -> None:
    api.kubectl("create", "deployment", "patched", "--image=nginx")
    api.kubectl("label", "deployment", "patched", "tier=front")
    api.kubectl("annotate", "deployment", "patched", "note=yes")
    api.kubectl("scale", "deployment", "patched", "--replicas=4")
    api.kubectl("patch", "deployment", "patched", "-p", '{"spec":{"minReadySeconds":7}}')
    api.kubectl("patch", "deployment", "patched", "--type=merge", "-p", '{"spec":{"paused":true}}')
    operation = '[{"op":"add","path":"/metadata/labels/by","value":"json"}]'
    api.kubectl("patch", "deployment", "patched", "--type=json", "-p", operation)
    found = api.get("deployment", "patched")
    assert found["metadata"]["labels"] == {"app": "patched", "tier": "front", "by": "json"}
    assert found["metadata"]["annotations"]["note"] == "yes"
    assert (found["spec"]["replicas"], found["spec"]["minReadySeconds"]) == (4, 7)
    assert found["spec"]["paused"] is True
    assert found["metadata"]["generation"] == 5  # annotation, scale and two patches


def test_set_image_merges_containers_by_name(api: Any) -> None:
    two = (POD % "two").replace("[{name: c,", "[{name: d, image: other}, {name: c,")
    api.kubectl("apply", "-f", "-", stdin=two)
    api.kubectl("set", "image", "pod/two", "c=busybox:2")
    images = {c["name"]: c["image"] for c in api.get("pod", "two")["spec"]["containers"]}
    assert images == {"c": "busybox:2", "d": "other"}


def test_selectors_of_labels_and_fields(api: Any) -> None:
    for name in ("sel-a", "sel-b"):
        api.kubectl("create", "configmap", name)
    api.kubectl("label", "configmap", "sel-a", "pick=me")
    assert api.kubectl("get", "cm", "-l", "pick=me", "-o", "name") == "configmap/sel-a\n"
    by_field = api.kubectl("get", "cm", "--field-selector=metadata.name=sel-b", "-o", "name")
    assert by_field == "configmap/sel-b\n"
    said = api.kubectl("get", "cm", "--field-selector=data.x=y", ok=False)
    assert "field label not supported: data.x" in said


def test_describe_and_explain_and_api_resources(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=POD % "described")
    assert "QoS Class:" in api.kubectl("describe", "pod", "described")
    assert "containers" in api.kubectl("explain", "pod.spec")
    listed = api.kubectl("api-resources", "--namespaced=true", "-o", "name")
    assert {"pods", "deployments.apps", "leases.coordination.k8s.io"} <= set(listed.split())


def test_dry_run_on_the_server_changes_nothing(api: Any) -> None:
    created = api.kubectl("apply", "--dry-run=server", "-f", "-", stdin=POD % "dry")
    assert "pod/dry created (server dry run)" in created
    assert "NotFound" in api.kubectl("get", "pod", "dry", ok=False)
    api.kubectl("apply", "-f", "-", stdin=POD % "dry")
    version = api.get("pod", "dry")["metadata"]["resourceVersion"]
    api.kubectl("label", "--dry-run=server", "pod", "dry", "a=b")
    api.kubectl("delete", "--dry-run=server", "pod", "dry")
    assert api.get("pod", "dry")["metadata"]["resourceVersion"] == version


def test_diff_shows_a_change_before_it_is_made(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=POD % "diffed")
    result = subprocess.run(
        api.command("diff", "-f", "-"),
        input=(POD % "diffed").replace("app: x", "app: z"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert "+    app: z" in result.stdout


def test_delete_waits_until_the_object_is_gone(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=POD % "doomed")
    assert 'pod "doomed" deleted' in api.kubectl("delete", "pod", "doomed")
    assert '"doomed" not found' in api.kubectl("get", "pod", "doomed", ok=False)


def test_a_running_pod_is_terminated_gracefully_and_ended_by_its_kubelet(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=POD % "graceful")
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "graceful"},
        "target": {"kind": "Node", "name": "n1"},
    }
    path = "/api/v1/namespaces/default/pods/graceful"
    assert api.json("POST", f"{path}/binding", binding)[0] == 201
    status, answer = api.json("POST", f"{path}/binding", binding)
    assert (status, answer["reason"]) == (409, "Conflict")
    api.kubectl("delete", "pod", "graceful", "--wait=false")
    metadata = api.get("pod", "graceful")["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 30
    api.kubectl("delete", "pod", "graceful", "--force", "--grace-period=0")
    assert "NotFound" in api.kubectl("get", "pod", "graceful", ok=False)


def test_wait_and_watch_see_changes(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=POD % "watched")
    process = subprocess.Popen(
        api.command("get", "pod", "watched", "-w"), stdout=subprocess.PIPE, text=True
    )
    timer = threading.Timer(20, process.kill)
    timer.start()
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("NAME")
        assert "Pending" in process.stdout.readline()
        status = {"status": {"phase": "Running"}}
        path = "/api/v1/namespaces/default/pods/watched/status"
        merge = {"Content_Type": "application/merge-patch+json"}
        assert api.json("PATCH", path, status, **merge)[0] == 200
        assert "Running" in process.stdout.readline()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    api.kubectl("wait", "pod/watched", "--for=jsonpath={.status.phase}=Running", "--timeout=5s")


def test_rollout_history_reads_the_replica_sets(api: Any) -> None:
    api.kubectl("create", "deployment", "rolled", "--image=nginx")
    owner = api.get("deployment", "rolled")
    template = owner["spec"]["template"]
    template["metadata"]["labels"]["pod-template-hash"] = "1"
    reference = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "rolled",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "rolled-1",
            "labels": {"app": "rolled", "pod-template-hash": "1"},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "ownerReferences": [reference],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "rolled", "pod-template-hash": "1"}},
            "template": template,
        },
    }
    api.kubectl("create", "-f", "-", stdin=json.dumps(replica_set))
    assert "REVISION" in api.kubectl("rollout", "history", "deployment/rolled")


def test_a_namespace_goes_when_its_finalizer_is_removed(api: Any) -> None:
    api.kubectl("create", "namespace", "short")
    api.kubectl("create", "configmap", "inside", "-n", "short")
    api.kubectl("delete", "namespace", "short", "--wait=false")
    namespace = api.get("namespace", "short")
    assert namespace["status"]["phase"] == "Terminating"
    said = api.kubectl("create", "configmap", "late", "-n", "short", ok=False)
    assert "because it is being terminated" in said
    api.kubectl("delete", "configmap", "inside", "-n", "short")
    namespace["spec"]["finalizers"] = []
    status, _ = api.json("PUT", "/api/v1/namespaces/short/finalize", namespace)
    assert status == 200
    assert "NotFound" in api.kubectl("get", "namespace", "short", ok=False)


def test_services_get_addresses_and_ports_and_give_them_back(api: Any) -> None:
    api.kubectl("create", "service", "nodeport", "np", "--tcp=80:8080")
    spec = api.get("service", "np")["spec"]
    assert spec["clusterIP"].startswith("127.99.")
    assert 30000 <= spec["ports"][0]["nodePort"] < 32768
    wanted = ("create", "service", "clusterip", "fixed", "--tcp=80")
    said = api.kubectl(*wanted, f"--clusterip={spec['clusterIP']}", ok=False)
    assert "provided IP is already allocated" in said
    api.kubectl("delete", "service", "np")
    api.kubectl(*wanted, f"--clusterip={spec['clusterIP']}")


def test_a_node_is_cordoned_drained_and_tainted(api: Any) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n9"}}
    api.kubectl("create", "-f", "-", stdin=json.dumps(node))
    overrides = '--overrides={"spec":{"nodeName":"n9"}}'
    api.kubectl("run", "on-n9", "--image=busybox", overrides)
    drained = api.kubectl("drain", "n9", "--force", "--grace-period=0", "--timeout=10s")
    assert "pod/on-n9 evicted" in drained
    assert "NotFound" in api.kubectl("get", "pod", "on-n9", ok=False)
    api.kubectl("uncordon", "n9")
    api.kubectl("taint", "node", "n9", "a=b:NoSchedule")
    taints = api.get("node", "n9")["spec"]["taints"]
    assert {"key": "a", "value": "b", "effect": "NoSchedule"} in taints


def test_users_without_rights_are_refused_in_upstreams_words(api: Any) -> None:
    said = api.kubectl("get", "pods", ok=False, kubeconfig=api.kubeconfig_for("jane", ["dev"]))
    assert (
        'pods is forbidden: User "jane" cannot list resource "pods" in API group "" '
        'in the namespace "default"'
    ) in said


def test_the_kubernetes_service_names_the_live_server(api: Any) -> None:
    deadline_s = time.monotonic() + 10
    while "subsets" not in (found := api.get("endpoints", "-A"))["items"][0]:
        assert time.monotonic() < deadline_s, found
    subset = api.get("endpoints", "kubernetes")["subsets"][0]
    assert subset["addresses"] == [{"ip": "127.0.0.1"}]
    assert subset["ports"][0]["port"] == api.port
    assert api.get("service", "kubernetes")["spec"]["clusterIP"] == "127.99.0.1"


def test_a_restarted_server_has_the_same_address_and_objects(api: Any) -> None:
    api.kubectl("create", "configmap", "survivor")
    port = api.port
    api.stop()
    api.start()
    assert api.port == port
    assert api.get("cm", "survivor")["metadata"]["name"] == "survivor"
