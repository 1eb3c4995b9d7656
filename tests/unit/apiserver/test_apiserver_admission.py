from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cluster.apiserver.admission.chain import Chain, Review
from cluster.apiserver.admission.plugins import default_plugins
from cluster.apiserver.authentication import User
from cluster.machinery import resources
from cluster.machinery.status import ApiError

ACCOUNTS: dict[str, dict[str, Any]] = {"robot": {"imagePullSecrets": [{"name": "registry"}]}}


async def find(namespace: str, name: str) -> dict[str, Any] | None:
    return ACCOUNTS.get(name)


def admit(operation: Any, resource: str, name: str, new: Any = None) -> Any:
    review = Review(
        operation, resources.find(resource), "", "ns", name, new, None, User("u"), False
    )
    asyncio.run(Chain(default_plugins(find, 7)).run(review))
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
