"""Claims of devices for administration, in namespaces that are and are not labelled for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import RunningApi

LABEL = "resource.kubernetes.io/admin-access"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


def path(api: Any, namespace: str, labels: dict[str, str]) -> str:
    body = {"metadata": {"name": namespace, "labels": labels}}
    assert api.json("POST", "/api/v1/namespaces", body)[0] == 201
    return f"/apis/resource.k8s.io/v1/namespaces/{namespace}"


def claim(admin: bool) -> dict[str, Any]:
    exactly = {"deviceClassName": "gpu", "adminAccess": admin}
    requests = [{"name": "plain", "exactly": {"deviceClassName": "gpu"}}]
    requests.append({"name": "r", "exactly": exactly})
    return {"devices": {"requests": requests}}


@pytest.mark.parametrize("labels", [{}, {LABEL: "false"}])
def test_claims_for_administration_are_refused_where_the_namespace_is_not_for_it(
    api: Any, labels: dict[str, str]
) -> None:
    where = path(api, f"plain-{len(labels)}", labels)
    body = {"metadata": {"name": "c"}, "spec": claim(admin=True)}
    code, answer = api.json("POST", f"{where}/resourceclaims", body)
    assert (code, answer["reason"]) == (422, "Invalid")
    (cause,) = answer["details"]["causes"]
    assert cause["field"] == "spec.devices.requests[1].exactly.adminAccess"
    assert f"requires the `{LABEL}: true` label" in cause["message"]
    template = {"metadata": {"name": "t"}, "spec": {"spec": claim(admin=True)}}
    code, answer = api.json("POST", f"{where}/resourceclaimtemplates", template)
    (cause,) = answer["details"]["causes"]
    assert cause["field"] == "spec.spec.devices.requests[1].exactly.adminAccess"
    body["spec"] = claim(admin=False)
    assert api.json("POST", f"{where}/resourceclaims", body)[0] == 201


def test_claims_for_administration_are_taken_in_a_namespace_that_is_for_it(api: Any) -> None:
    where = path(api, "admins", {LABEL: "true"})
    body = {"metadata": {"name": "c"}, "spec": claim(admin=True)}
    assert api.json("POST", f"{where}/resourceclaims", body)[0] == 201
    template = {"metadata": {"name": "t"}, "spec": {"spec": claim(admin=True)}}
    assert api.json("POST", f"{where}/resourceclaimtemplates", template)[0] == 201
