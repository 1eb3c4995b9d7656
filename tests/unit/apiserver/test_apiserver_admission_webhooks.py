"""Admission webhooks, with a real HTTPS server that answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import RunningApi
from webhook_fixture import WebhookServer, patch

GROUP = "/apis/admissionregistration.k8s.io/v1"
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
CREATE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"]}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


@pytest.fixture
def hooks(api: Any) -> Iterator[Any]:
    server = WebhookServer(api.authority)
    yield server
    for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        assert api.json("DELETE", f"{GROUP}/{plural}")[0] == 200
    server.close()


def register(api: Any, hooks: Any, kind: str, *paths: str, **more: Any) -> None:
    """One configuration with a webhook a path."""
    webhooks = [
        {
            "name": f"{path}.example.com",
            "clientConfig": hooks.client_config(path),
            "rules": [{**CREATE, "resources": ["configmaps", "pods"]}],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            **more,
        }
        for path in paths
    ]
    body = {"metadata": {"name": f"{kind.lower()}-{paths[0]}"}, "webhooks": webhooks}
    code, answer = api.json("POST", f"{GROUP}/{kind.lower()}webhookconfigurations", body)
    assert code == 201, answer


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_a_refusal_is_told_with_the_name_and_the_code_of_the_webhook(api: Any, hooks: Any) -> None:
    register(api, hooks, "Validating", "deny")
    hooks.answers["deny"] = lambda request: {
        "allowed": False, "status": {"code": 402, "message": "pay first"}
    }  # fmt: skip
    code, answer = api.json("POST", MAPS, config_map("a"))
    assert code == 402
    told = 'admission webhook "deny.example.com" denied the request: pay first'
    assert answer["message"] == told
    hooks.answers["deny"] = lambda request: {"allowed": False}
    code, answer = api.json("POST", MAPS, config_map("a"))
    assert (code, answer["message"]) == (
        400,
        'admission webhook "deny.example.com" denied the request without explanation',
    )
    (first, _) = hooks.reviews("deny")
    assert first["operation"] == "CREATE"
    assert first["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert first["object"]["metadata"]["name"] == "a"
    assert first["userInfo"]["username"] == "admin"
    assert first["oldObject"] is None
    assert hooks.connections == 1  # it is kept open


def test_a_mutation_is_stored_pruned_and_seen_by_those_who_validate(api: Any, hooks: Any) -> None:
    register(api, hooks, "Mutating", "one", "two")
    register(api, hooks, "Validating", "see")
    hooks.answers["one"] = lambda request: patch(
        {"op": "add", "path": "/data", "value": {"one": "1"}},
        {"op": "add", "path": "/nonsense", "value": 1},
    )
    hooks.answers["two"] = lambda request: patch(
        {"op": "add", "path": "/data/two", "value": request["object"]["data"]["one"] + "2"}
    )
    hooks.answers["see"] = lambda request: {"allowed": True, "warnings": ["seen"]}
    status, headers, _ = api.raw(
        "POST", MAPS, b'{"metadata": {"name": "m"}}', {"Content-Type": "application/json"}
    )
    assert status == 201
    assert headers["warning"] == '299 - "seen"'
    _, stored = api.json("GET", f"{MAPS}/m")
    assert stored["data"] == {"one": "1", "two": "12"}
    assert "nonsense" not in stored
    assert hooks.reviews("see")[0]["object"]["data"] == stored["data"]
    assert len(hooks.reviews("one")) == 1


def test_who_asks_for_it_is_asked_again_when_another_has_changed_the_object(
    api: Any, hooks: Any
) -> None:
    register(api, hooks, "Mutating", "again", "other", reinvocationPolicy="IfNeeded")

    def count(request: dict[str, Any]) -> dict[str, Any]:
        data = request["object"].get("data") or {}
        seen = "true" if "other" in data else "false"
        return patch({"op": "add", "path": "/data", "value": {**data, "saw-other": seen}})

    hooks.answers["again"] = count
    hooks.answers["other"] = lambda request: patch(
        {"op": "add", "path": "/data/other", "value": "x"}
    )
    _, made = api.json("POST", MAPS, config_map("r", a="b"))
    assert made["data"] == {"a": "b", "other": "x", "saw-other": "true"}
    assert len(hooks.reviews("again")) == 2


def test_failures_refuse_or_are_ignored_as_the_policy_says(api: Any, hooks: Any) -> None:
    register(api, hooks, "Validating", "strict")
    hooks.answers["strict"] = lambda request: {"uid": "another", "allowed": True}
    code, answer = api.json("POST", MAPS, config_map("f"))
    assert code == 500
    assert 'failed calling webhook "strict.example.com"' in answer["message"]
    assert "expected response.uid=" in answer["message"]
    assert api.json("DELETE", f"{GROUP}/validatingwebhookconfigurations")[0] == 200
    register(api, hooks, "Validating", "lax", failurePolicy="Ignore")
    hooks.answers["lax"] = lambda request: {"uid": "another", "allowed": False}
    assert api.json("POST", MAPS, config_map("f"))[0] == 201


def test_a_webhook_that_does_not_answer_is_waited_for_as_long_as_it_says(
    api: Any, hooks: Any
) -> None:
    released = threading.Event()
    register(api, hooks, "Validating", "slow", timeoutSeconds=1)

    def wait(request: dict[str, Any]) -> dict[str, Any]:
        released.wait(20)
        return {"allowed": True}

    hooks.answers["slow"] = wait
    code, answer = api.json("POST", MAPS, config_map("s"))
    released.set()
    assert code == 500
    assert answer["message"].endswith('slow?timeout=1s": context deadline exceeded')


def test_webhooks_with_side_effects_do_not_take_part_in_dry_runs(api: Any, hooks: Any) -> None:
    register(api, hooks, "Validating", "effects", sideEffects="NoneOnDryRun")
    hooks.answers["effects"] = lambda request: {"allowed": True}
    assert api.json("POST", f"{MAPS}?dryRun=All", config_map("d"))[0] == 201
    assert hooks.reviews("effects")[0]["dryRun"] is True
    assert api.json("GET", f"{MAPS}/d")[0] == 404


def test_selectors_and_match_conditions_say_which_objects_are_sent(api: Any, hooks: Any) -> None:
    conditions = [
        {"name": "named", "expression": "object.metadata.name.startsWith('x')"},
        {"name": "may", "expression": "authorizer.requestResource.check('create').allowed()"},
    ]
    register(
        api,
        hooks,
        "Validating",
        "some",
        objectSelector={"matchLabels": {"app": "sent"}},
        namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        matchConditions=conditions,
    )
    hooks.answers["some"] = lambda request: {"allowed": False}
    labels = {"labels": {"app": "sent"}}
    for name, metadata, code in (("x1", {}, 201), ("y1", labels, 201), ("x2", labels, 400)):
        body = {"metadata": {"name": name, **metadata}}
        assert api.json("POST", MAPS, body)[0] == code, name
    assert len(hooks.reviews("some")) == 1
    assert api.json("POST", "/api/v1/namespaces/kube-system/configmaps",
                    {"metadata": {"name": "x2", **labels}})[0] == 201  # fmt: skip


def test_deletions_are_sent_with_the_object_and_one_by_one(api: Any, hooks: Any) -> None:
    rule = {**CREATE, "operations": ["DELETE"], "resources": ["configmaps"]}
    for name in ("keep", "drop"):
        api.json("POST", MAPS, {"metadata": {"name": name, "labels": {"set": "del"}}})
    register(api, hooks, "Validating", "keeper", rules=[rule])
    hooks.answers["keeper"] = lambda request: {"allowed": request["name"] != "keep"}
    assert api.json("DELETE", f"{MAPS}?labelSelector=set%3Ddel")[0] == 400
    assert api.json("GET", f"{MAPS}/keep")[0] == 200
    assert api.json("DELETE", f"{MAPS}/keep")[0] == 400
    assert hooks.reviews("keeper")[0]["oldObject"]["metadata"]["name"] in ("keep", "drop")
    assert hooks.reviews("keeper")[0]["object"] is None


def test_equivalent_resources_are_sent_in_the_version_that_is_asked_for(
    api: Any, hooks: Any
) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v2"],
            "resources": ["horizontalpodautoscalers"]}  # fmt: skip
    register(api, hooks, "Validating", "equal", rules=[rule])
    hooks.answers["equal"] = lambda request: {"allowed": True}
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    body = {"metadata": {"name": "h"}, "spec": spec}
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    assert api.json("POST", path, body)[0] == 201
    (review,) = hooks.reviews("equal")
    assert review["kind"]["version"] == "v2"
    assert review["requestKind"]["version"] == "v1"
    assert review["object"]["spec"]["metrics"][0]["type"] == "Resource"


def test_configurations_of_webhooks_are_sent_to_no_webhook(api: Any, hooks: Any) -> None:
    everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
                  "resources": ["*/*"]}  # fmt: skip
    register(api, hooks, "Validating", "all", rules=[everything])
    hooks.answers["all"] = lambda request: {"allowed": False}
    assert api.json("DELETE", f"{GROUP}/validatingwebhookconfigurations/validating-all")[0] == 200


def test_a_webhook_that_is_not_there_is_named_with_the_reason(api: Any, hooks: Any) -> None:
    nowhere = {"url": "https://127.0.0.1:1/x"}
    register(api, hooks, "Validating", "down", clientConfig=nowhere)
    code, answer = api.json("POST", MAPS, config_map("down"))
    assert code == 500
    assert answer["message"] == (
        'Internal error occurred: failed calling webhook "down.example.com": failed to call '
        'webhook: Post "https://127.0.0.1:1/x?timeout=10s": dial tcp 127.0.0.1:1: connect: '
        "connection refused"
    )


def test_a_webhook_for_an_older_version_sees_and_changes_the_newer_one(
    api: Any, hooks: Any
) -> None:
    """matchPolicy Equivalent, for a kind with two versions; Exact is not asked."""
    rule = {
        "operations": ["CREATE"],
        "apiGroups": ["autoscaling"],
        "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"],
    }
    register(api, hooks, "Mutating", "older", rules=[rule])
    register(api, hooks, "Validating", "exact", rules=[rule], matchPolicy="Exact")
    change = {"op": "add", "path": "/spec/targetCPUUtilizationPercentage", "value": 55}
    hooks.answers["older"] = lambda request: patch(change)
    hooks.answers["exact"] = lambda request: {"allowed": False}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    body = {"metadata": {"name": "other"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    code, made = api.json("POST", path, body)
    assert code == 201, made
    (seen,) = hooks.reviews("older")
    assert seen["object"]["apiVersion"] == "autoscaling/v1"
    assert seen["kind"] == {"group": "autoscaling", "version": "v1",
                            "kind": "HorizontalPodAutoscaler"}  # fmt: skip
    assert seen["requestKind"]["version"] == "v2"
    assert made["apiVersion"] == "autoscaling/v2"
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 55
    assert hooks.reviews("exact") == []
