from __future__ import annotations

from typing import Any

import pytest

from cluster.apiserver.authz import bootstrap, rules
from cluster.machinery import validation


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"verbs": verbs.split(), "apiGroups": [g for g in groups.split(",")]}
    found["resources"] = resources.split()
    return found | ({"resourceNames": names.split()} if names else {})


@pytest.mark.parametrize(
    ("given", "asked", "permitted"),
    [
        (rule("get", "", "pods"), ("get", "", "pods", ""), True),
        (rule("get", "", "pods"), ("list", "", "pods", ""), False),
        (rule("get", "", "pods"), ("get", "apps", "pods", ""), False),
        (rule("get", "", "pods"), ("get", "", "pods", "log"), False),
        (rule("get", "", "pods/log"), ("get", "", "pods", "log"), True),
        (rule("get", "", "*"), ("get", "", "pods", "log"), True),
        (rule("get", "", "*/scale"), ("get", "", "pods", "scale"), True),
        (rule("get", "", "*/scale"), ("get", "", "pods", ""), False),
        (rule("get", "", "pods/*"), ("get", "", "pods", "log"), False),
        (rule("*", "*", "*"), ("anything", "any.group", "things", "sub"), True),
    ],
)
def test_what_a_rule_permits(given: Any, asked: tuple[str, ...], permitted: bool) -> None:
    assert rules.parse(given).permits(*asked) is permitted


@pytest.mark.parametrize(
    ("pattern", "path", "permitted"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/etcd", False),
        ("/apis/*", "/apis/apps/v1", True),
        ("/apis/*", "/apis", False),
        ("*", "/anything", True),
    ],
)
def test_what_a_rule_of_paths_permits(pattern: str, path: str, permitted: bool) -> None:
    found = rules.parse({"verbs": ["get"], "nonResourceURLs": [pattern]})
    assert found.permits_path("get", path) is permitted
    assert not found.permits_path("post", path)


def test_a_rule_is_covered_piece_by_piece() -> None:
    held = [rules.parse(rule("get list", "", "pods")), rules.parse(rule("get", "", "secrets", "a"))]
    assert rules.uncovered([rule("get list", "", "pods")], held) == []
    assert rules.uncovered([rule("get", "", "secrets", "a")], held) == []
    missing = rules.uncovered([rule("get delete", "", "pods secrets")], held)
    assert [rules.shown(part) for part in missing] == [
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}',
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}',
        '{APIGroups:[""], Resources:["secrets"], Verbs:["delete"]}',
    ]


def test_the_roles_of_every_cluster_are_valid_and_stay_as_they_are() -> None:
    found = bootstrap.policy()
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in found]
    assert len(set(names)) == len(names)
    for obj in found:
        assert validation.validate_create(obj) == []
        assert bootstrap.reconciled(obj, obj) is None


def test_reconciling_adds_what_is_missing_and_takes_nothing_away() -> None:
    wanted = next(o for o in bootstrap.policy() if o["metadata"]["name"] == "system:basic-user")
    extra = rule("get", "", "pods")
    held = {**wanted, "rules": [extra]}
    new = bootstrap.reconciled(held, wanted)
    assert new is not None
    assert new["rules"][0] == extra
    assert rules.uncovered(wanted["rules"], rules.parse_all(new)) == []
    left = {bootstrap.AUTOUPDATE: "false"}
    alone = {**held, "metadata": {**held["metadata"], "annotations": left}}
    assert bootstrap.reconciled(alone, wanted) is None
