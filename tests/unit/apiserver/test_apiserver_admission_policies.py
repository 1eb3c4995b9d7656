"""ValidatingAdmissionPolicy and its bindings, by the API and by the real kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import KUBECTL, RunningApi

GROUP = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"]}  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


@pytest.fixture
def api(running: Any) -> Iterator[Any]:
    yield running
    for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        assert running.json("DELETE", f"{GROUP}/{plural}")[0] == 200
    assert running.json("DELETE", MAPS)[0] == 200


def policy(api: Any, *validations: Any, name: str = "p", **more: Any) -> None:
    spec = {"matchConstraints": {"resourceRules": [RULE]}, "validations": list(validations)}
    body = {"metadata": {"name": name}, "spec": {**spec, **more}}
    code, answer = api.json("POST", f"{GROUP}/validatingadmissionpolicies", body)
    assert code == 201, answer


def bind(api: Any, *actions: str, name: str = "b", **more: Any) -> None:
    spec = {"policyName": "p", "validationActions": list(actions), **more}
    body = {"metadata": {"name": name}, "spec": spec}
    code, answer = api.json("POST", f"{GROUP}/validatingadmissionpolicybindings", body)
    assert code == 201, answer


def create(api: Any, name: str, **data: str) -> tuple[int, Any]:
    answer: tuple[int, Any] = api.json("POST", MAPS, {"metadata": {"name": name}, "data": data})
    return answer


def test_what_a_rule_forbids_is_refused_in_upstreams_words(api: Any) -> None:
    policy(api, {"expression": "object.data.size() < 2"})
    assert create(api, "free", a="1", b="2")[0] == 201  # nothing binds the policy yet
    bind(api, "Deny")
    code, answer = create(api, "x", a="1", b="2")
    assert code == 422
    assert (answer["reason"], answer["message"]) == (
        "Invalid",
        "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied "
        "request: failed expression: object.data.size() < 2",
    )
    assert create(api, "y", a="1")[0] == 201


def test_messages_reasons_and_variables(api: Any) -> None:
    variables = [
        {"name": "keys", "expression": "object.data.map(k, k)"},
        {"name": "many", "expression": "variables.keys.size() > 1"},
    ]
    policy(
        api,
        {
            "expression": "!variables.many",
            "messageExpression": "'too many: ' + string(variables.keys.size())",
            "reason": "Forbidden",
        },
        variables=variables,
    )
    bind(api, "Deny")
    code, answer = create(api, "x", a="1", b="2")
    assert (code, answer["reason"]) == (403, "Forbidden")
    assert answer["message"].endswith("denied request: too many: 2")
    assert create(api, "y", a="1")[0] == 201


def test_a_binding_may_only_warn(api: Any) -> None:
    policy(api, {"expression": "false", "message": "never"})
    bind(api, "Warn", "Audit")
    status, headers, _ = api.raw(
        "POST", MAPS, b'{"metadata": {"name": "w"}}', {"Content-Type": "application/json"}
    )
    assert status == 201
    assert headers["warning"] == (
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': never\""
    )


def test_failures_to_evaluate_are_judged_by_the_failure_policy(api: Any) -> None:
    policy(api, {"expression": "object.data.missing == 'x'"})
    bind(api, "Deny")
    code, answer = create(api, "x", a="1")
    assert code == 422
    assert "resulted in error: no such key: missing" in answer["message"]
    merge = {"Content-Type": "application/merge-patch+json"}
    path = f"{GROUP}/validatingadmissionpolicies/p"
    assert api.raw("PATCH", path, b'{"spec": {"failurePolicy": "Ignore"}}', merge)[0] == 200
    assert create(api, "x", a="1")[0] == 201


def test_parameters_are_found_by_name_and_by_selector_or_missed(api: Any) -> None:
    other = "/api/v1/namespaces/kube-system/configmaps"
    for name, most in (("loose", "5"), ("tight", "1")):
        body = {"metadata": {"name": name, "labels": {"for": "p"}}, "data": {"most": most}}
        assert api.json("POST", other, body)[0] == 201
    policy(
        api,
        {"expression": "object.data.size() <= int(params.data.most)"},
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        matchConstraints={
            "resourceRules": [RULE],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        },
    )
    where = {"namespace": "kube-system", "parameterNotFoundAction": "Deny"}
    bind(api, "Deny", paramRef={**where, "name": "loose"})
    assert create(api, "a", a="1", b="2")[0] == 201
    selector = {"matchLabels": {"for": "p"}}
    bind(api, "Deny", name="all", paramRef={**where, "selector": selector})
    code, answer = create(api, "b", a="1", b="2")
    assert code == 422
    assert "with binding 'all'" in answer["message"]
    assert create(api, "c", a="1")[0] == 201
    bind(api, "Deny", name="gone", paramRef={**where, "name": "nowhere"})
    code, answer = create(api, "d", a="1")
    assert "no params found for policy binding with `Deny`" in answer["message"]


def test_rules_may_ask_who_is_allowed_what(api: Any) -> None:
    policy(
        api,
        {"expression": "authorizer.group('').resource('secrets').check('delete').allowed()"},
        {"expression": "request.userInfo.username == 'admin' && request.operation == 'CREATE'"},
        {"expression": "namespaceObject.metadata.name == 'default' && oldObject == null"},
    )
    bind(api, "Deny")
    assert create(api, "x")[0] == 201


def test_match_conditions_and_exclusions_narrow_what_is_judged(api: Any) -> None:
    excluded = {**RULE, "resourceNames": ["excluded"]}
    constraints = {"resourceRules": [RULE], "excludeResourceRules": [excluded]}
    condition = {"name": "not-free", "expression": "!object.metadata.name.startsWith('free')"}
    policy(api, {"expression": "false"}, matchConstraints=constraints, matchConditions=[condition])
    bind(api, "Deny")
    assert [create(api, name)[0] for name in ("excluded", "free-1", "other")] == [201, 201, 422]


def test_an_expression_that_costs_too_much_is_stopped(api: Any) -> None:
    data = "object.data.all(a, object.data.all(b, object.data.all(c, a != b + 'x' + c)))"
    policy(api, {"expression": data})
    bind(api, "Deny")
    code, answer = create(api, "x", **{f"key{n}": "v" for n in range(150)})
    assert code == 422
    assert "cost limit exceeded" in answer["message"]


def test_what_does_not_compile_is_not_stored(api: Any) -> None:
    body = {"metadata": {"name": "bad"}, "spec": {
        "matchConstraints": {"resourceRules": [RULE]},
        "validations": [{"expression": "object.x +"}, {"expression": "'text'"}]}}  # fmt: skip
    code, answer = api.json("POST", f"{GROUP}/validatingadmissionpolicies", body)
    assert code == 422
    fields = [cause["field"] for cause in answer["details"]["causes"]]
    assert fields == ["spec.validations[0].expression", "spec.validations[1].expression"]
    assert "must evaluate to bool" in answer["message"]


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on PATH")
def test_kubectl_shows_why(api: Any) -> None:
    policy(api, {"expression": "'team' in object.metadata.labels", "message": "no team"},
           matchConstraints={"resourceRules": [{**RULE, "apiGroups": ["apps"],
                                                "resources": ["deployments"]}]})  # fmt: skip
    bind(api, "Deny")
    told = api.kubectl("create", "deployment", "web", "--image=web", ok=False)
    assert "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no team" in told
