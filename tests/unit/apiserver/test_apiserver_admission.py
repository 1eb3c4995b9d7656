from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cluster.apiserver.admission.chain import Chain, Review
from cluster.apiserver.admission.plugins import default_plugins
from cluster.apiserver.authn.user import User
from cluster.machinery import resources
from cluster.machinery.status import ApiError

ACCOUNTS: dict[str, dict[str, Any]] = {"robot": {"imagePullSecrets": [{"name": "registry"}]}}


async def find(namespace: str, name: str) -> dict[str, Any] | None:
    return ACCOUNTS.get(name)


CLASSES: dict[str, dict[str, Any]] = {
    "high": {"metadata": {"name": "high"}, "value": 9, "preemptionPolicy": "Never"}
}


async def find_class(name: str) -> dict[str, Any] | None:
    return CLASSES.get(name)


def admit(operation: Any, resource: str, name: str, new: Any = None) -> Any:
    review = Review(
        operation, resources.find(resource), "", "ns", name, new, None, User("u"), False
    )
    plugins = default_plugins(find, find_class, 7, lambda: "abcde").values()
    asyncio.run(Chain(list(plugins)).run(review))
    return new


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": spec}


def test_a_pod_gets_account_priority_and_tolerations() -> None:
    spec = admit("create", "pods", "p", pod())["spec"]
    assert spec["serviceAccountName"] == "default"
    assert spec["priority"] == 0
    assert {t["key"]: t["tolerationSeconds"] for t in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready": 7,
        "node.kubernetes.io/unreachable": 7,
    }


def test_what_a_pod_says_itself_is_kept() -> None:
    everything = {"operator": "Exists"}
    given = pod(
        serviceAccountName="robot",
        priorityClassName="system-node-critical",
        tolerations=[everything],
    )
    spec = admit("create", "pods", "p", given)["spec"]
    assert spec["tolerations"] == [everything]
    assert spec["priority"] == 2_000_001_000
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_an_unknown_account_or_priority_class_is_refused() -> None:
    for spec in ({"serviceAccountName": "ghost"}, {"priorityClassName": "golden"}):
        with pytest.raises(ApiError) as error:
            admit("create", "pods", "p", pod(**spec))
        assert error.value.code == 403


def test_the_namespaces_of_the_system_cannot_be_deleted() -> None:
    for name in ("default", "kube-system", "kube-public"):
        with pytest.raises(ApiError) as error:
            admit("delete", "namespaces", name)
        assert error.value.message.endswith("this namespace may not be deleted")
    admit("delete", "namespaces", "mine")


def test_a_class_of_the_cluster_gives_value_and_policy() -> None:
    spec = admit("create", "pods", "p", pod(priorityClassName="high"))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (9, "Never")
    for wrong in ({"priority": 10}, {"preemptionPolicy": "PreemptLowerPriority"}):
        with pytest.raises(ApiError, match="must not be provided in pod spec"):
            admit("create", "pods", "p", pod(priorityClassName="high", **wrong))


def test_a_default_class_is_for_pods_without_one_and_there_is_only_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = {"metadata": {"name": "usual"}, "value": 3, "globalDefault": True}
    monkeypatch.setitem(CLASSES, "", usual)
    spec = admit("create", "pods", "p", pod())["spec"]
    assert (spec["priorityClassName"], spec["priority"]) == ("usual", 3)
    admit("update", "priorityclasses", "usual", usual)
    with pytest.raises(ApiError, match="usual is already marked as default"):
        admit("create", "priorityclasses", "other", {"metadata": {}, "globalDefault": True})


def test_a_new_node_takes_no_pods_before_it_is_ready() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    node = admit("create", "nodes", "n", {"metadata": {"name": "n"}})
    assert node["spec"]["taints"] == [taint]
    mine = {"key": "mine", "effect": "NoExecute"}
    node = admit("create", "nodes", "n", {"metadata": {}, "spec": {"taints": [mine, taint]}})
    assert node["spec"]["taints"] == [mine, taint]
    node = {"metadata": {}, "spec": {}}
    assert admit("update", "nodes", "n", node)["spec"] == {}
