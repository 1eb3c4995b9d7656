"""Rows about the API and the controllers behind it: the same whatever runs the containers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from object_samples import SAMPLES
from suite.plane import Plane, eventually
from suite.rows import shows

from cluster.machinery import resources

Object = dict[str, Any]

NAMESPACE = "api-rows"
MINE = {"of": "api-rows"}


@pytest.fixture(scope="module")
def api(plane: Plane) -> Plane:
    plane.namespace(NAMESPACE)
    return plane


class Collection:
    """The objects of one resource that this module makes."""

    def __init__(self, api: Plane, key: str) -> None:
        self.api, self.resource = api, resources.find(key)
        assert self.resource is not None
        root = f"/apis/{self.resource.api_version}" if self.resource.group else "/api/v1"
        place = f"/namespaces/{NAMESPACE}" if self.resource.namespaced else ""
        self.path = f"{root}{place}/{self.resource.plural}"
        self.sample: Object = yaml.safe_load(SAMPLES[key][0])
        self.sample["metadata"].pop("namespace", None)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Object:
        status, found = self.api.json(method, self.path + path, body, **headers)
        assert status in (200, 201, 202), found
        return dict(found)

    def new(self, name: str) -> Object:
        metadata = {**self.sample["metadata"], "name": name, "labels": MINE}
        return self.call("POST", "", {**self.sample, "metadata": metadata})

    def names(self) -> set[str]:
        items = self.call("GET", "?labelSelector=of%3Dapi-rows")["items"]
        return {item["metadata"]["name"] for item in items}

    def seen_since(self, version: str) -> Iterator[tuple[str, str]]:
        """(type, name) of every event since then, for a second at most."""
        query = f"?watch=1&timeoutSeconds=1&resourceVersion={version}&labelSelector=of%3Dapi-rows"
        _, _, body = self.api.raw("GET", self.path + query)
        for line in body.decode().splitlines():
            event = json.loads(line)
            yield event["type"], event["object"]["metadata"]["name"]


def run_through_life(api: Plane, key: str) -> None:
    """Create, get, list, watch, patch, replace, delete one, delete all: as upstream does it."""
    of = Collection(api, key)
    version = of.call("GET", "")["metadata"]["resourceVersion"]
    first = of.new("first")
    assert first["metadata"]["uid"]
    for name in ("second", "third"):
        of.new(name)
    assert of.call("GET", "/first")["metadata"]["uid"] == first["metadata"]["uid"]
    assert of.names() == {"first", "second", "third"}
    patch = {"metadata": {"annotations": {"patched": "true"}}}
    merge = "application/merge-patch+json"
    patched = of.call("PATCH", "/first", patch, Content_Type=merge)
    assert patched["metadata"]["annotations"]["patched"] == "true"
    patched["metadata"]["annotations"]["updated"] = "true"
    assert of.call("PUT", "/first", patched)["metadata"]["annotations"]["updated"] == "true"
    of.call("DELETE", "/first")
    eventually(lambda: of.names() == {"second", "third"})
    of.call("DELETE", "?labelSelector=of%3Dapi-rows")
    eventually(lambda: not of.names())
    seen = list(of.seen_since(version))
    assert ("ADDED", "first") in seen
    assert ("MODIFIED", "first") in seen
    assert ("DELETED", "first") in seen
    assert seen.count(("DELETED", "second")) == 1


LIVES = {
    "v1/configmaps": "[sig-node] ConfigMap should run through a ConfigMap lifecycle",
    "v1/secrets": "[sig-node] Secrets should patch a secret",
    "v1/podtemplates": "[sig-node] PodTemplates should run the lifecycle of PodTemplates",
    "v1/nodes": "[sig-node] Node Lifecycle should run through the lifecycle of a node",
    "coordination.k8s.io/v1/leases": "[sig-node] Lease lease API should be available",
    "node.k8s.io/v1/runtimeclasses":
        "[sig-node] RuntimeClass should support RuntimeClasses API operations",
    "resource.k8s.io/v1/deviceclasses":
        "[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 DeviceClass",
    "resource.k8s.io/v1/resourceclaims":
        "[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim",
    "resource.k8s.io/v1/resourceclaimtemplates":
        "[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate",
    "resource.k8s.io/v1/resourceslices":
        "[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice",
    "storage.k8s.io/v1/csidrivers":
        "[sig-storage] CSIInlineVolumes should run through the lifecycle of a CSIDriver",
    "storage.k8s.io/v1/csinodes":
        "[sig-storage] CSINodes CSI Conformance should run through the lifecycle of a csinode",
    "storage.k8s.io/v1/csistoragecapacities":
        "[sig-storage] CSIStorageCapacity should support CSIStorageCapacities API operations",
    "storage.k8s.io/v1/storageclasses":
        "[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a"
        " StorageClass",
    "storage.k8s.io/v1/volumeattachments":
        "[sig-storage] VolumeAttachment Conformance should run through the lifecycle of a"
        " VolumeAttachment",
    "storage.k8s.io/v1/volumeattributesclasses":
        "[sig-storage] VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run"
        " through the lifecycle of a VolumeAttributesClass",
}  # fmt: skip


@pytest.mark.parametrize("key", [pytest.param(key, marks=shows(row)) for key, row in LIVES.items()])
def test_the_life_of_an_object(api: Plane, key: str) -> None:
    run_through_life(api, key)


@shows(
    "[sig-node] PodTemplates should delete a collection of pod templates",
    "[sig-node] PodTemplates should replace a pod template",
)
def test_pod_templates_are_replaced_and_deleted_together(api: Plane) -> None:
    of = Collection(api, "v1/podtemplates")
    template = of.new("replaced")
    template["metadata"]["annotations"] = {"replaced": "true"}
    assert of.call("PUT", "/replaced", template)["metadata"]["annotations"] == {"replaced": "true"}
    of.new("beside")
    of.call("DELETE", "?labelSelector=of%3Dapi-rows")
    assert of.names() == set()


@shows("[sig-node] ConfigMap should update ConfigMap successfully")
def test_a_config_map_is_replaced(api: Plane) -> None:
    of = Collection(api, "v1/configmaps")
    made = of.new("replaced")
    made["data"] = {"new": "data"}
    assert of.call("PUT", "/replaced", made)["data"] == {"new": "data"}
    of.call("DELETE", "/replaced")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param("ConfigMap", "data", marks=shows(
            "[sig-node] ConfigMap should fail to create ConfigMap with empty key")),
        pytest.param("Secret", "stringData", marks=shows(
            "[sig-node] Secrets should fail to create secret due to empty secret key")),
    ],
)  # fmt: skip
def test_an_empty_key_is_refused(api: Plane, kind: str, data: str) -> None:
    bad = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "bad"}, data: {"": "value"}}
    said = api.kubectl(
        "-n", NAMESPACE, "create", "--validate=false", "-f", "-", stdin=json.dumps(bad), ok=False
    )
    assert "a valid config key must consist of" in said


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param("ConfigMap", "data", marks=shows(
            "[sig-storage] ConfigMap should be immutable if `immutable` field is set")),
        pytest.param("Secret", "stringData", marks=shows(
            "[sig-storage] Secrets should be immutable if `immutable` field is set")),
    ],
)  # fmt: skip
def test_what_is_immutable_stays_as_it_is(api: Plane, kind: str, data: str) -> None:
    fixed = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "fixed"}, data: {"a": "1"}}
    api.apply(NAMESPACE, {**fixed, "immutable": True})
    changed = json.dumps({**fixed, data: {"a": "2"}, "immutable": True})
    for new in (changed, json.dumps({**fixed, "immutable": False})):
        said = api.kubectl("-n", NAMESPACE, "replace", "-f", "-", stdin=new, ok=False)
        assert "immutable" in said
    api.kubectl("-n", NAMESPACE, "delete", kind, "fixed")


def pod(name: str, **spec: Any) -> Object:
    container = {"name": "main", "image": "any", "command": ["true"]}
    nobody = {"containers": [container], "schedulerName": "nobody", **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": nobody}


@shows("[sig-node] Sysctls [LinuxOnly] should reject invalid sysctls")
def test_names_that_are_no_sysctls_are_refused(api: Plane) -> None:
    names = ("foo-", "kernel.shmmax", "safe-and-unsafe", "bar..")
    sysctls = [{"name": n, "value": "1"} for n in names]
    bad = json.dumps(pod("sysctls", securityContext={"sysctls": sysctls}))
    said = api.kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=bad, ok=False)
    for name in ("foo-", "bar.."):
        assert f'Invalid value: "{name}"' in said
    assert '"kernel.shmmax"' not in said


@pytest.fixture
def runtime_class(api: Plane) -> Iterator[Object]:
    made = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "test-handler",
            "metadata": {"name": "with-overhead"},
            "overhead": {"podFixed": {"cpu": "10m", "memory": "1Mi"}}}  # fmt: skip
    plain = {**made, "metadata": {"name": "plain"}}
    del plain["overhead"]
    api.apply(NAMESPACE, made, plain)
    yield made
    with contextlib.suppress(AssertionError):
        api.kubectl("delete", "runtimeclass", "plain", "with-overhead")


@shows(
    "[sig-node] RuntimeClass should reject a Pod requesting a non-existent RuntimeClass",
    "[sig-node] RuntimeClass should reject a Pod requesting a deleted RuntimeClass",
)
def test_a_pod_of_an_unknown_runtime_class_is_refused(api: Plane, runtime_class: Object) -> None:
    def refused(name: str) -> None:
        bad = json.dumps(pod("refused", runtimeClassName=name))
        said = api.kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=bad, ok=False)
        assert "forbidden" in said
        assert f'RuntimeClass "{name}" not found' in said

    refused("nonexistent")
    api.kubectl("delete", "runtimeclass", "plain")
    eventually(lambda: refused("plain") is None)


@shows(
    "[sig-node] RuntimeClass should schedule a Pod requesting a RuntimeClass and initialize its"
    " Overhead",
    "[sig-node] RuntimeClass should schedule a Pod requesting a RuntimeClass without PodOverhead",
)
def test_the_overhead_of_a_runtime_class_becomes_the_pods(
    api: Plane, runtime_class: Object
) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "for-classes"}}
    api.apply(NAMESPACE, node)
    amounts = {"cpu": "4", "memory": "4Gi", "pods": "10"}
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2030-01-01T00:00:00Z"}
    status = {"status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}}
    api.kubectl("patch", "node", "for-classes", "--subresource=status", "-p", json.dumps(status))
    tolerations = [{"operator": "Exists"}]
    for name in ("plain", "with-overhead"):
        new = pod(f"of-{name}", runtimeClassName=name, tolerations=tolerations,
                  nodeSelector={"kubernetes.io/hostname": "for-classes"})  # fmt: skip
        del new["spec"]["schedulerName"]
        api.kubectl("label", "node", "for-classes", "kubernetes.io/hostname=for-classes",
                    "--overwrite")  # fmt: skip
        api.apply(NAMESPACE, new)
        wait = ("wait", "--for=condition=PodScheduled", f"pod/of-{name}", "--timeout=90s")
        api.kubectl("-n", NAMESPACE, *wait)
        found = api.read("pods", f"of-{name}", NAMESPACE)["spec"]
        wanted = runtime_class["overhead"]["podFixed"] if name == "with-overhead" else None
        assert found.get("overhead") == wanted
        assert found["nodeName"] == "for-classes"
    api.kubectl("-n", NAMESPACE, "delete", "pods", "--all", "--force", "--grace-period=0")
    api.kubectl("delete", "node", "for-classes")


@shows("[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API")
def test_a_pod_may_name_a_volume_of_a_driver(api: Plane) -> None:
    volume = {"name": "v", "csi": {"driver": "e2e.example.com", "readOnly": True}}
    api.apply(NAMESPACE, pod("inline", volumes=[volume]))
    found = api.read("pods", "inline", NAMESPACE)["spec"]["volumes"]
    assert [v["csi"] for v in found if v["name"] == "v"] == [volume["csi"]]
    api.kubectl("-n", NAMESPACE, "delete", "pod", "inline", "--force", "--grace-period=0")


@shows("[sig-storage] VolumeAttachment Conformance should apply changes to a volumeattachment"
       " status")  # fmt: skip
def test_the_status_of_an_attachment_is_its_own(api: Plane) -> None:
    of = Collection(api, "storage.k8s.io/v1/volumeattachments")
    of.new("status")
    merge = "application/merge-patch+json"
    of.call("PATCH", "/status/status", {"status": {"attached": True}}, Content_Type=merge)
    found = of.call("GET", "/status/status")
    assert found["status"]["attached"] is True
    found["status"]["attached"] = False
    assert of.call("PUT", "/status/status", found)["status"]["attached"] is False
    of.call("DELETE", "/status")


def _volume(name: str) -> tuple[Object, Object]:
    access = {"accessModes": ["ReadWriteOnce"], "storageClassName": f"class-{name}"}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume",
              "metadata": {"name": name, "labels": MINE},
              "spec": {**access, "capacity": {"storage": "1Gi"},
                       "persistentVolumeReclaimPolicy": "Retain",
                       "hostPath": {"path": f"/tmp/rk-{name}"}}}  # fmt: skip
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
             "metadata": {"name": name, "labels": MINE},
             "spec": {**access, "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip
    return volume, claim


def _bound(api: Plane, name: str) -> None:
    for kind in ("pv", "pvc"):
        wait = ("wait", "--for=jsonpath={.status.phase}=Bound", f"{kind}/{name}", "--timeout=90s")
        api.kubectl("-n", NAMESPACE, *wait)


@shows("[sig-storage] PersistentVolumes CSI Conformance should run through the lifecycle of a PV"
       " and a PVC")  # fmt: skip
def test_a_volume_and_its_claim_live_and_go_together(api: Plane) -> None:
    api.apply(NAMESPACE, *_volume("lives"))
    _bound(api, "lives")
    volume = api.get("pv", "lives")
    claim = api.read("persistentvolumeclaims", "lives", NAMESPACE)
    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    for kind in ("pv", "pvc"):
        api.kubectl("-n", NAMESPACE, "label", kind, "lives", "patched=true")
    api.kubectl("-n", NAMESPACE, "delete", "pvc", "-l", "of=api-rows", "--timeout=90s")
    released = ("wait", "--for=jsonpath={.status.phase}=Released", "pv/lives", "--timeout=90s")
    api.kubectl(*released)
    api.kubectl("delete", "pv", "-l", "patched=true", "--timeout=90s")


@shows("[sig-storage] PersistentVolumes CSI Conformance should apply changes to a pv/pvc status")
def test_the_statuses_of_volumes_and_claims_are_their_own(api: Plane) -> None:
    api.apply(NAMESPACE, *_volume("statuses"))
    _bound(api, "statuses")
    entry = {"type": "StatusPatched", "status": "True", "reason": "E2E"}
    patch = json.dumps({"status": {"conditions": [entry]}})
    status = ("--subresource=status", "-p", patch)
    api.kubectl("-n", NAMESPACE, "patch", "pvc", "statuses", *status)
    found = api.read("persistentvolumeclaims", "statuses", NAMESPACE)["status"]
    assert found["phase"] == "Bound"
    assert found["conditions"][0]["type"] == "StatusPatched"
    patch = json.dumps({"status": {"message": "patched", "reason": "E2E"}})
    api.kubectl("patch", "pv", "statuses", "--subresource=status", "-p", patch)
    said = api.get("pv", "statuses")["status"]
    assert (said["message"], said["phase"]) == ("patched", "Bound")
    api.kubectl("-n", NAMESPACE, "delete", "pvc", "statuses", "--timeout=90s")
    api.kubectl("delete", "pv", "statuses", "--timeout=90s")
