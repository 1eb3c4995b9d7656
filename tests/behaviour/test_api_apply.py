"""Server-side apply through the real kubectl and plain requests, over MemoryStore."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)

pytestmark = pytest.mark.skipif(api_fixture.KUBECTL is None, reason="kubectl is not on PATH")

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, labels: {tier: front}}
spec:
  replicas: 2
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec: {containers: [{name: c, image: busybox, ports: [{containerPort: 80}]}]}
"""
EMPTY = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {%s}\n"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = api_fixture.RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


def managers(api: Any, *what: str) -> dict[tuple[str, str, str], Any]:
    found = json.loads(api.kubectl("get", *what, "-o", "json", "--show-managed-fields"))
    return {
        (e["manager"], e["operation"], e.get("subresource", "")): e["fieldsV1"]
        for e in found["metadata"].get("managedFields", [])
    }


def ssa(api: Any, manifest: str, *args: str, ok: bool = True) -> str:
    text: str = api.kubectl("apply", "--server-side", *args, "-f", "-", stdin=manifest, ok=ok)
    return text


def test_apply_creates_then_changes_then_leaves_alone(api: Any) -> None:
    assert "serverside-applied" in ssa(api, DEPLOYMENT % "one")
    first = api.get("deploy", "one")
    assert first["spec"]["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    ssa(api, DEPLOYMENT % "one")
    assert api.get("deploy", "one") == first, "the same apply changes nothing"
    ssa(api, (DEPLOYMENT % "one").replace("replicas: 2", "replicas: 3"))
    after = api.get("deploy", "one")
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (3, 2)
    owned = managers(api, "deploy", "one")[("kubectl", "Apply", "")]
    assert owned["f:spec"]["f:replicas"] == {}
    assert "f:dnsPolicy" not in owned["f:spec"]["f:template"]["f:spec"], "defaults are nobody's"


def test_a_field_that_is_no_longer_applied_goes(api: Any) -> None:
    ssa(api, DEPLOYMENT % "gone")
    ssa(api, (DEPLOYMENT % "gone").replace(", labels: {tier: front}", ""))
    assert "labels" not in api.get("deploy", "gone")["metadata"]


def test_conflicts_name_manager_and_field_and_force_takes_over(api: Any) -> None:
    ssa(api, CONFIG % ("fought", "a: b"), "--field-manager=one")
    said = ssa(api, CONFIG % ("fought", "a: c"), "--field-manager=two", ok=False)
    assert 'Apply failed with 1 conflict: conflict with "one": .data.a' in said
    status, answer = api.json(
        "PATCH",
        "/api/v1/namespaces/default/configmaps/fought?fieldManager=two",
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "c"}},
        Content_Type="application/apply-patch+yaml",
    )
    assert (status, answer["reason"]) == (409, "Conflict")
    assert answer["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    ]
    ssa(api, CONFIG % ("fought", "a: c"), "--field-manager=two", "--force-conflicts")
    assert api.get("cm", "fought")["data"] == {"a": "c"}
    assert set(managers(api, "cm", "fought")) == {("two", "Apply", "")}


def test_two_appliers_share_a_field_and_the_last_one_takes_it_along(api: Any) -> None:
    for name in ("one", "two"):
        ssa(api, CONFIG % ("shared", "a: b"), f"--field-manager={name}")
    ssa(api, EMPTY % "shared", "--field-manager=one")
    assert api.get("cm", "shared")["data"] == {"a": "b"}
    ssa(api, EMPTY % "shared", "--field-manager=two")
    assert "data" not in api.get("cm", "shared")


def test_every_kind_of_writer_is_recorded(api: Any) -> None:
    api.kubectl("create", "deployment", "written", "--image=busybox")
    api.kubectl("label", "deploy", "written", "a=b", "--field-manager=labeller")
    api.kubectl("scale", "deploy", "written", "--replicas=4")
    api.kubectl(
        "patch", "deploy", "written", "--subresource=status", "--type=merge",
        "-p", '{"status": {"replicas": 4}, "spec": {"replicas": 9}}',
    )  # fmt: skip
    found = managers(api, "deploy", "written")
    assert set(found) == {
        ("kubectl-create", "Update", ""),
        ("labeller", "Update", ""),
        ("kubectl", "Update", "scale"),
        ("kubectl-patch", "Update", "status"),
    }
    assert found[("kubectl", "Update", "scale")] == {"f:spec": {"f:replicas": {}}}
    assert found[("kubectl-patch", "Update", "status")] == {"f:status": {"f:replicas": {}}}
    assert found[("labeller", "Update", "")] == {"f:metadata": {"f:labels": {"f:a": {}}}}
    assert "f:replicas" not in found[("kubectl-create", "Update", "")]["f:spec"]


def test_managed_fields_are_shown_only_when_asked_for_and_reset_by_an_empty_entry(
    api: Any,
) -> None:
    ssa(api, CONFIG % ("reset", "a: b"))
    assert "managedFields" not in api.kubectl("get", "cm", "reset", "-o", "yaml")
    shown = api.kubectl("get", "cm", "reset", "-o", "yaml", "--show-managed-fields")
    assert "f:data" in shown
    patch = '{"metadata": {"managedFields": [{}]}}'
    api.kubectl("patch", "cm", "reset", "--type=merge", "-p", patch)
    assert managers(api, "cm", "reset") == {}
    api.kubectl("label", "cm", "reset", "x=y")
    assert managers(api, "cm", "reset") == {}, "not tracked until it is applied again"
    ssa(api, CONFIG % ("reset", "a: b"))
    assert set(managers(api, "cm", "reset")) == {
        ("kubectl", "Apply", ""),
        ("before-first-apply", "Update", ""),
    }


def test_kubectl_moves_from_client_side_apply_to_server_side_apply(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=CONFIG % ("moved", "a: b, c: d"))
    assert set(managers(api, "cm", "moved")) == {("kubectl-client-side-apply", "Update", "")}
    ssa(api, CONFIG % ("moved", "a: changed"))
    assert api.get("cm", "moved")["data"] == {"a": "changed"}
    found = managers(api, "cm", "moved")
    assert ("kubectl", "Apply", "") in found
    assert ("kubectl-client-side-apply", "Update", "") not in found
    note = api.get("cm", "moved")["metadata"]["annotations"]
    assert "changed" in note["kubectl.kubernetes.io/last-applied-configuration"]
    api.kubectl("apply", "-f", "-", stdin=CONFIG % ("moved", "a: back"))
    assert api.get("cm", "moved")["data"] == {"a": "back"}


def test_diff_and_dry_run_on_the_server(api: Any) -> None:
    ssa(api, CONFIG % ("diffed", "a: b"))
    changed = CONFIG % ("diffed", "a: c")
    result = api.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=changed)
    assert "serverside-applied (server dry run)" in result
    assert api.get("cm", "diffed")["data"] == {"a": "b"}
    same = CONFIG % ("diffed", "a: b")
    assert "a:" not in api.kubectl("diff", "--server-side", "-f", "-", stdin=same)
    with pytest.raises(AssertionError, match=r"\+  a: c"):  # kubectl ends with 1 on a difference
        api.kubectl("diff", "--server-side", "-f", "-", stdin=changed)


def test_apply_to_status_and_scale_owns_only_that(api: Any) -> None:
    ssa(api, DEPLOYMENT % "parts")
    path = "/apis/apps/v1/namespaces/default/deployments/parts"
    sent = {"Content_Type": "application/apply-patch+yaml"}
    body: Any = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {"q": "r"}}}
    body["status"] = {"conditions": [{"type": "Available", "status": "True"}]}
    status, answer = api.json("PATCH", f"{path}/status?fieldManager=ctrl", body, **sent)
    assert status == 200, answer
    assert "q" not in answer["metadata"]["labels"]
    owned = managers(api, "deploy", "parts")[("ctrl", "Apply", "status")]
    assert list(owned) == ["f:status"]
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 7}}
    status, answer = api.json("PATCH", f"{path}/scale?fieldManager=hpa", scale, **sent)
    assert (status, answer["reason"]) == (409, "Conflict")
    status, answer = api.json("PATCH", f"{path}/scale?fieldManager=hpa&force=true", scale, **sent)
    assert (status, answer["spec"]["replicas"]) == (200, 7)
    assert managers(api, "deploy", "parts")[("hpa", "Apply", "scale")] == {
        "f:spec": {"f:replicas": {}}
    }


@pytest.mark.parametrize(
    ("query", "body", "type_", "code", "text"),
    [
        ("", {"apiVersion": "v1", "kind": "ConfigMap"}, "yaml", 422, "fieldManager: Required"),
        ("?fieldManager=m", {"apiVersion": "v1", "kind": "Secret"}, "yaml", 400, "incorrect kind"),
        ("?fieldManager=m", {"kind": "ConfigMap"}, "yaml", 400, "incorrect apiVersion"),
        ("?fieldManager=m", [], "yaml", 400, "a YAML mapping"),
        ("?fieldManager=m", {}, "cbor", 415, "application/apply-patch+yaml"),
        (
            "?fieldManager=m&fieldValidation=Strict",
            {"apiVersion": "v1", "kind": "ConfigMap", "dota": {}},
            "yaml", 400, 'unknown field "dota"',
        ),
        (
            "?fieldManager=m",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"managedFields": []}},
            "yaml", 400, "metadata.managedFields must be nil",
        ),
        (
            "?fieldManager=m",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"uid": "x"}},
            "yaml", 409, "uid mismatch",
        ),
        ("?fieldManager=" + "m" * 129, {"apiVersion": "v1"}, "yaml", 422, "Too long"),
    ],
)  # fmt: skip
def test_wrong_applies_are_told_apart(
    api: Any, query: str, body: Any, type_: str, code: int, text: str
) -> None:
    path = f"/api/v1/namespaces/default/configmaps/wrong{query}"
    media = f"application/apply-patch+{type_}"
    status, answer = api.json("PATCH", path, body, Content_Type=media)
    assert (status, text in answer["message"]) == (code, True), answer


@pytest.mark.parametrize("type_", ["application/yaml", "application/apply-patch+yaml"])
def test_keys_that_stand_twice_in_yaml_are_told(api: Any, type_: str) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: twice\ndata:\n  a: b\n  a: c\n"
    path, method = "/api/v1/namespaces/default/configmaps", "POST"
    if "apply" in type_:
        path, method = f"{path}/twice", "PATCH"
    said = 'line 7: key "a" already set in map'
    sent = {"Content-Type": type_}
    query = "?dryRun=All&fieldManager=m&fieldValidation="
    status, _, answer = api.raw(method, f"{path}{query}Strict", text.encode(), sent)
    assert (status, said in json.loads(answer)["message"]) == (400, True), answer
    status, headers, _ = api.raw(method, f"{path}{query}Warn", text.encode(), sent)
    assert (status, said.replace('"', '\\"') in headers["warning"]) == (201, True)
    status, headers, _ = api.raw(method, f"{path}{query}Ignore", text.encode(), sent)
    assert (status, "warning" in headers) == (201, False)


def test_force_is_for_applies_only(api: Any) -> None:
    path = "/api/v1/namespaces/default/configmaps/x?force=true"
    media = "application/merge-patch+json"
    status, answer = api.json("PATCH", path, {}, Content_Type=media)
    assert (status, "non-apply" in answer["message"]) == (422, True)


def test_an_update_without_managed_fields_keeps_them(api: Any) -> None:
    ssa(api, CONFIG % ("kept", "a: b"))
    path = "/api/v1/namespaces/default/configmaps/kept"
    obj = api.json("GET", path)[1]
    del obj["metadata"]["managedFields"]
    obj["data"]["n"] = "m"
    assert api.json("PUT", f"{path}?fieldManager=putter", obj)[0] == 200
    found = managers(api, "cm", "kept")
    assert found[("kubectl", "Apply", "")] == {"f:data": {"f:a": {}}}
    assert found[("putter", "Update", "")] == {"f:data": {"f:n": {}}}


def test_versions_of_one_object_share_their_managers(api: Any) -> None:
    def autoscaler(version: str, replicas: int, **more: Any) -> str:
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
        spec = {"scaleTargetRef": reference, "maxReplicas": replicas, **more}
        return json.dumps(
            {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler",
             "metadata": {"name": "both"}, "spec": spec}
        )  # fmt: skip

    ssa(api, autoscaler("v2", 5), "--field-manager=new")
    said = ssa(api, autoscaler("v1", 6), "--field-manager=old", ok=False)
    assert 'conflict with "new": .spec.maxReplicas' in said
    ssa(api, autoscaler("v1", 6, targetCPUUtilizationPercentage=50), "--field-manager=new")
    after = api.get("hpa.v2.autoscaling", "both")
    assert after["spec"]["maxReplicas"] == 6
    assert after["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50


DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rings.apply.example.com}
spec:
  group: apply.example.com
  scope: Namespaced
  names: {plural: rings, singular: ring, kind: Ring}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
          spec:
            type: object
            properties:
              size: {type: integer, default: 1}
              stones:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, cut: {type: string}}
"""


def ring(*stones: dict[str, str]) -> str:
    metadata = {"name": "one", "namespace": "default"}
    body = {"apiVersion": "apply.example.com/v1", "kind": "Ring", "metadata": metadata}
    return json.dumps({**body, "spec": {"stones": list(stones)}})


def test_custom_resources_are_applied_by_their_own_schema(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=DEFINITION)
    api.kubectl("wait", "--for=condition=established", "crd/rings.apply.example.com")
    ssa(api, ring({"name": "ruby", "cut": "oval"}), "--field-manager=one")
    ssa(api, ring({"name": "opal", "cut": "round"}), "--field-manager=two")
    assert [s["name"] for s in api.get("ring", "one")["spec"]["stones"]] == ["ruby", "opal"]
    assert api.get("ring", "one")["spec"]["size"] == 1, "the default, which nobody owns"
    said = ssa(api, ring({"name": "ruby", "cut": "pear"}), "--field-manager=two", ok=False)
    assert 'conflict with "one": .spec.stones[name="ruby"].cut' in said
    ssa(api, ring(), "--field-manager=one")
    assert [s["name"] for s in api.get("ring", "one")["spec"]["stones"]] == ["opal"]
    api.kubectl("scale", "ring", "one", "--replicas=4")
    api.kubectl(
        "patch",
        "ring",
        "one",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"size":4}}',
    )
    found = managers(api, "ring", "one")
    assert found[("kubectl", "Update", "scale")] == {"f:spec": {"f:size": {}}}
    assert found[("kubectl-patch", "Update", "status")]["f:status"]["f:size"] == {}


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "80"])
FIELDS = st.sampled_from(["name", "containers", "ports", "labels", "a", "template", "spec",
                          "metadata", "selector", "finalizers", "managedFields"])  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["", "a", "b"])
PORTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"name": NAMES, "containerPort": st.integers(0, 2), "protocol": NAMES},
    ),
    max_size=3,
)
CONTAINERS = st.lists(
    st.fixed_dictionaries({}, optional={"name": NAMES, "image": NAMES, "ports": PORTS}),
    max_size=3,
)
PODS = st.fixed_dictionaries({}, optional={"containers": CONTAINERS, "nodeName": NAMES})
SPECS = JSON | PODS
METADATA = JSON | st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(NAMES, NAMES, max_size=2),
        "finalizers": st.lists(NAMES, max_size=3),
        "managedFields": st.lists(JSON, max_size=2),
        "ownerReferences": st.lists(st.dictionaries(st.just("uid"), NAMES), max_size=2),
    },
)
TYPES = ("application/apply-patch+yaml", "application/merge-patch+json",
         "application/strategic-merge-patch+json", "application/json")  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(metadata=METADATA, spec=SPECS, type_=st.sampled_from(TYPES))
def test_no_body_is_too_much(api: Any, metadata: Any, spec: Any, type_: str) -> None:
    """Whatever stands in it, a write is done or refused."""
    collection = "/api/v1/namespaces/default/pods"
    base = {"apiVersion": "v1", "kind": "Pod"}
    pod = {**base, "metadata": {"name": "fuzzed"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "i"}]}
    body = {**base, "metadata": metadata, "spec": spec}
    if type_ == "application/json":
        status, answer = api.json("POST", collection, body)
    else:
        if "apply" not in type_:
            api.json("POST", collection, pod)
        query = "?fieldManager=fuzz" + ("&force=true" if "apply" in type_ else "")
        path = f"{collection}/fuzzed{query}"
        status, answer = api.json("PATCH", path, body, Content_Type=type_)
    assert status < 500, (body, answer)
