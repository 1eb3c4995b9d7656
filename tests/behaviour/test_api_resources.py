"""Every stored resource through the real kubectl: make, print, describe, change, apply, delete."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from object_samples import SAMPLES, path_of

from cluster.machinery import resources
from cluster.storage.strategies import table

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)

pytestmark = pytest.mark.skipif(api_fixture.KUBECTL is None, reason="kubectl is not on PATH")

WAITING = ("namespaces", "persistentvolumes", "persistentvolumeclaims")
"""What is deleted only when its controller says so."""


BETA_TO_OLD_CLIENTS = (
    "ipaddresses.v1.networking.k8s.io",
    "servicecidrs.v1.networking.k8s.io",
    "volumeattributesclasses.v1.storage.k8s.io",
)
"""A kubectl before 1.34 may describe these by v1beta1 only, which no 1.34 serves by default."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = api_fixture.RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


def test_there_is_a_sample_of_every_stored_resource() -> None:
    dynamic = {"apiextensions.k8s.io/v1/customresourcedefinitions"}
    assert set(table.SERVED) - dynamic == set(SAMPLES)


def test_every_stable_resource_that_can_be_stored_is_served() -> None:
    stored = {
        f"{r.api_version}/{r.plural}" for r in resources.ALL if r.stable and "create" in r.verbs
        and "list" in r.verbs
    }  # fmt: skip
    assert stored - set(table.SERVED) <= {"apiextensions.k8s.io/v1/customresourcedefinitions"}


def _patch(path: str, text: str) -> str:
    value = text if path.startswith(("metadata.", "data.", "spec.hard")) else yaml.safe_load(text)
    for step in reversed(path.split(".")):
        value = {step: value}
    return json.dumps(value)


def _at(obj: Any, path: str) -> Any:
    for step in path.split("."):
        obj = obj[step]
    return obj


def _assert_described(api: Any, full: str, name: str) -> None:
    command = api.command("describe", full, name, "-v=6")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if full in BETA_TO_OLD_CLIENTS and "/v1beta1/" in done.stderr:
        assert "the server could not find the requested resource" in done.stderr, done
        return
    assert done.returncode == 0, done
    assert re.search(rf"(?m)^Name: +{re.escape(name)}$", done.stdout), done.stdout
    assert not re.search("(?mi)^ *error", done.stdout), done.stdout


@pytest.mark.parametrize("key", SAMPLES)
def test_create_print_describe_change_apply_and_delete(api: Any, key: str) -> None:
    manifest, path, value = SAMPLES[key]
    resource = resources.find(key)
    full = f"{resource.plural}.{resource.version}.{resource.group}"
    name = yaml.safe_load(manifest)["metadata"]["name"]
    api.kubectl("create", "-f", "-", stdin=manifest)
    found = api.json("GET", path_of(key, name))[1]
    assert (found["kind"], found["apiVersion"]) == (resource.kind, resource.api_version)
    header = api.kubectl("get", full, name, "-o", "wide").splitlines()[0]
    assert header.split()[0] in ("NAME", "LAST")
    _assert_described(api, full, name)
    api.kubectl("patch", full, name, "--type=merge", "-p", _patch(path, value))
    patched = api.json("GET", path_of(key, name))[1]
    assert str(_at(patched, path)).lower() == value.lower()
    api.kubectl("apply", "-f", "-", stdin=manifest)
    applied = api.json("GET", path_of(key, name))[1]
    assert applied["metadata"]["resourceVersion"] != patched["metadata"]["resourceVersion"]
    api.kubectl("delete", full, name, "--wait=false")
    if resource.plural not in WAITING:
        assert api.json("GET", path_of(key, name))[0] == 404


def test_an_event_is_one_object_in_two_versions(api: Any) -> None:
    root = "/namespaces/default/events"
    new = yaml.safe_load(SAMPLES["events.k8s.io/v1/events"][0])
    assert api.json("POST", f"/apis/events.k8s.io/v1{root}", new)[0] == 201
    core = api.json("GET", f"/api/v1{root}/sample-new")[1]
    assert (core["message"], core["involvedObject"]["name"]) == ("one", "p")
    assert core["reportingComponent"] == "example.com/test"
    core["message"] = "two"
    assert api.json("PUT", f"/api/v1{root}/sample-new", core)[0] == 200
    shown = api.json("GET", f"/apis/events.k8s.io/v1{root}?fieldSelector=regarding.name%3Dp")[1]
    (item,) = shown["items"]
    assert (item["note"], item["apiVersion"]) == ("two", "events.k8s.io/v1")
    assert "two" in api.kubectl("get", "events", "--field-selector=involvedObject.name=p")
    assert api.json("DELETE", f"/apis/events.k8s.io/v1{root}/sample-new")[0] == 200
    assert api.json("GET", f"/api/v1{root}/sample-new")[0] == 404


def test_an_autoscaler_is_one_object_in_two_versions(api: Any) -> None:
    old = yaml.safe_load(SAMPLES["autoscaling/v1/horizontalpodautoscalers"][0])
    api.kubectl("create", "-f", "-", stdin=json.dumps(old))
    path = "autoscaling/{}/namespaces/default/horizontalpodautoscalers/sample-old"
    shown = api.json("GET", "/apis/" + path.format("v2"))[1]
    target = {"type": "Utilization", "averageUtilization": 60}
    assert shown["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    ]
    memory = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}
    shown["spec"]["metrics"].append({"type": "Resource", "resource": memory})
    assert api.json("PUT", "/apis/" + path.format("v2"), shown)[0] == 200
    through_v1 = api.json("GET", "/apis/" + path.format("v1"))[1]
    assert through_v1["spec"]["targetCPUUtilizationPercentage"] == 60
    assert api.json("PUT", "/apis/" + path.format("v1"), through_v1)[0] == 200
    again = api.json("GET", "/apis/" + path.format("v2"))[1]["spec"]["metrics"]
    assert {m["resource"]["name"] for m in again} == {"cpu", "memory"}
    assert "cpu: <unknown>/60%" in api.kubectl("get", "hpa", "sample-old")


def test_a_signing_request_is_approved_by_kubectl(api: Any) -> None:
    api.kubectl("create", "-f", "-", stdin=SAMPLES[
        "certificates.k8s.io/v1/certificatesigningrequests"][0])  # fmt: skip
    found = api.get("csr", "sample")
    assert (found["spec"]["username"], found["status"]) == ("admin", {})
    api.kubectl("certificate", "approve", "sample")
    assert api.get("csr", "sample")["status"]["conditions"][0]["type"] == "Approved"
    assert api.kubectl("get", "csr", "sample").splitlines()[1].endswith("Approved")


def test_all_workloads_with_replicas_scale(api: Any) -> None:
    for key in ("v1/replicationcontrollers", "apps/v1/statefulsets"):
        api.kubectl("create", "-f", "-", stdin=SAMPLES[key][0])
        plural = key.rpartition("/")[2]
        api.kubectl("scale", plural, "sample", "--replicas=5")
        assert api.get(plural, "sample")["spec"]["replicas"] == 5


def test_a_pod_gets_an_ephemeral_container_and_other_resources(api: Any) -> None:
    sample = json.loads(SAMPLES["v1/pods"][0])
    sample["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "50m"}}
    api.kubectl("create", "-f", "-", stdin=json.dumps(sample))
    api.kubectl("debug", "sample", "--image=busybox", "--container=dbg", "--target=c")
    pod = api.get("pod", "sample")
    assert [c["name"] for c in pod["spec"]["ephemeralContainers"]] == ["dbg"]
    resources_ = {"requests": {"cpu": "100m"}}
    patch = json.dumps({"spec": {"containers": [{"name": "c", "resources": resources_}]}})
    api.kubectl("patch", "pod", "sample", "--subresource=resize", "-p", patch)
    assert api.get("pod", "sample")["spec"]["containers"][0]["resources"] == resources_
    refused = [
        ("resize", {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
         "only cpu and memory resources are mutable"),
        ("resize", {"limits": {"cpu": "1", "memory": "1Gi"},
          "requests": {"cpu": "1", "memory": "1Gi"}}, "Pod QOS Class may not change"),
    ]  # fmt: skip
    for subresource, amounts, said in refused:
        patch = json.dumps({"spec": {"containers": [{"name": "c", "resources": amounts}]}})
        path = f"/api/v1/namespaces/default/pods/sample/{subresource}"
        media = "application/strategic-merge-patch+json"
        status, _, answer = api.raw("PATCH", path, patch.encode(), {"Content-Type": media})
        assert (status, said in answer.decode()) == (422, True), answer
    pod["spec"]["ephemeralContainers"] = []
    del pod["metadata"]["resourceVersion"]
    path = "/api/v1/namespaces/default/pods/sample/ephemeralcontainers"
    status, answer = api.json("PUT", path, pod)
    assert (status, "may not be removed" in answer["message"]) == (422, True)


def test_get_all_lists_what_is_in_the_category(api: Any) -> None:
    listed = api.kubectl("get", "all", "-o", "name").split()
    assert {"pod/sample", "statefulset.apps/sample", "replicationcontroller/sample"} <= set(listed)


def test_each_short_name_and_category_is_listed(api: Any) -> None:
    listed = api.kubectl("api-resources", "--no-headers")
    names = {line.split()[1] for line in listed.splitlines()}
    assert {"ds", "sts", "rc", "cj", "pv", "pvc", "sc", "ing", "netpol", "pdb", "hpa"} <= {
        name for group in names for name in group.split(",")
    }
