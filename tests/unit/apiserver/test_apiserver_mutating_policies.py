"""MutatingAdmissionPolicy, where a server is told to serve it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import RunningApi

VERSION = "admissionregistration.k8s.io/v1beta1"
GROUP = f"/apis/{VERSION}"
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
        "resources": ["configmaps", "pods"]}  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"), runtime_config=[VERSION])
    yield running
    running.close()


@pytest.fixture
def api(running: Any) -> Iterator[Any]:
    yield running
    for plural in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
        assert running.json("DELETE", f"{GROUP}/{plural}")[0] == 200


def apply(expression: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def json_patch(expression: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def policy(api: Any, *mutations: Any, name: str = "p", **more: Any) -> tuple[int, Any]:
    spec = {"matchConstraints": {"resourceRules": [RULE]}, "mutations": list(mutations),
            "reinvocationPolicy": "Never", **more}  # fmt: skip
    body = {"metadata": {"name": name}, "spec": spec}
    answer: tuple[int, Any] = api.json("POST", f"{GROUP}/mutatingadmissionpolicies", body)
    body = {"metadata": {"name": name}, "spec": {"policyName": name}}
    if answer[0] == 201:
        assert api.json("POST", f"{GROUP}/mutatingadmissionpolicybindings", body)[0] == 201
    return answer


def test_an_apply_configuration_is_merged_into_the_object(api: Any) -> None:
    text = """Object{
        metadata: Object.metadata{labels: {"team": namespaceObject.metadata.name}},
        spec: Object.spec{containers: [Object.spec.containers{
            name: "side", image: "side:" + variables.tag}]}}"""
    variables = [{"name": "tag", "expression": "string(object.spec.containers.size())"}]
    code, answer = policy(api, apply(text), variables=variables)
    assert code == 201, answer
    body = {"metadata": {"name": "p", "labels": {"own": "x"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}  # fmt: skip
    code, made = api.json("POST", PODS, body)
    assert code == 201, made
    assert made["metadata"]["labels"] == {"own": "x", "team": "default"}
    assert {c["name"]: c["image"] for c in made["spec"]["containers"]} == {
        "c": "i", "side": "side:1"
    }  # fmt: skip
    managers = {entry["manager"] for entry in made["metadata"]["managedFields"]}
    assert "MutatingAdmissionPolicy" not in managers


def test_a_json_patch_may_use_what_the_object_says(api: Any) -> None:
    text = """[JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("a/b"),
                         value: object.metadata.name}]"""
    code, answer = policy(api, json_patch(text))
    assert code == 201, answer
    metadata = {"name": "j", "annotations": {"x": "y"}}
    code, made = api.json("POST", MAPS, {"metadata": metadata})
    assert code == 201, made
    assert made["metadata"]["annotations"] == {"x": "y", "a/b": "j"}


def test_a_policy_is_asked_again_when_a_later_one_has_changed_the_object(api: Any) -> None:
    count = 'Object{metadata: Object.metadata{labels: {"keys": string(object.data.size())}}}'
    policy(api, apply(count), name="a", reinvocationPolicy="IfNeeded")
    policy(api, json_patch('[JSONPatch{op: "add", path: "/data/z", value: "1"}]'), name="b")
    code, made = api.json("POST", MAPS, {"metadata": {"name": "again"}, "data": {"x": "y"}})
    assert code == 201, made
    assert made["metadata"]["labels"] == {"keys": "2"}


def test_failures_are_judged_by_the_failure_policy(api: Any) -> None:
    missing = json_patch('[JSONPatch{op: "remove", path: "/data/missing"}]')
    policy(api, missing)
    code, answer = api.json("POST", MAPS, {"metadata": {"name": "f"}, "data": {"x": "y"}})
    assert code == 403
    assert "policy 'p' with binding 'p' denied request" in answer["message"]
    assert api.json("DELETE", f"{GROUP}/mutatingadmissionpolicies")[0] == 200
    assert api.json("DELETE", f"{GROUP}/mutatingadmissionpolicybindings")[0] == 200
    policy(api, missing, failurePolicy="Ignore")
    assert api.json("POST", MAPS, {"metadata": {"name": "f"}, "data": {"x": "y"}})[0] == 201


def test_what_does_not_compile_is_not_stored(api: Any) -> None:
    code, answer = policy(api, apply("Object{"), json_patch("'text'"))
    assert code == 422
    fields = [cause["field"] for cause in answer["details"]["causes"]]
    assert fields == ["spec.mutations[0].applyConfiguration.expression",
                      "spec.mutations[1].jsonPatch.expression"]  # fmt: skip
