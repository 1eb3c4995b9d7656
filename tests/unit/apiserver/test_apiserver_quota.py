"""ResourceQuota, by the API, and with creators who race."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_fixture import RunningApi


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


@pytest.fixture
def space(api: Any, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("_", "-")[:50].strip("-")
    assert api.json("POST", "/api/v1/namespaces", {"metadata": {"name": name}})[0] == 201
    return f"/api/v1/namespaces/{name}"


def limit(api: Any, space: str, name: str = "q", scopes: Any = (), **hard: str) -> None:
    hard = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    body = {"metadata": {"name": name}, "spec": {"hard": hard, "scopes": list(scopes)}}
    assert api.json("POST", f"{space}/resourcequotas", body)[0] == 201


def used(api: Any, space: str, name: str = "q") -> Any:
    return api.json("GET", f"{space}/resourcequotas/{name}")[1]["status"]["used"]


def pod(name: str, **resources: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": resources}
    return {"metadata": {"name": name}, "spec": {"containers": [container]}}


def test_no_more_is_created_than_the_quota_has(api: Any, space: str) -> None:
    limit(api, space, count__configmaps="2")
    assert api.json("POST", f"{space}/configmaps", {"metadata": {"name": "a"}})[0] == 201
    api.json("POST", f"{space}/configmaps", {"metadata": {"name": "b"}})
    code, answer = api.json("POST", f"{space}/configmaps", {"metadata": {"name": "c"}})
    assert code == 403
    assert answer["message"] == (
        'configmaps "c" is forbidden: exceeded quota: q, requested: count/configmaps=1, '
        "used: count/configmaps=2, limited: count/configmaps=2"
    )
    assert used(api, space) == {"count/configmaps": "2"}


def test_what_is_deleted_is_free_at_once(api: Any, space: str) -> None:
    limit(api, space, secrets="1")
    for _ in range(3):
        assert api.json("POST", f"{space}/secrets", {"metadata": {"name": "s"}})[0] == 201
        assert api.json("DELETE", f"{space}/secrets/s")[0] == 200
    assert used(api, space) == {"secrets": "0"}


def test_what_was_there_before_the_quota_counts(api: Any, space: str) -> None:
    for name in ("a", "b"):
        api.json("POST", f"{space}/services", {"metadata": {"name": name},
                 "spec": {"type": "NodePort", "ports": [{"port": 80}]}})  # fmt: skip
    limit(api, space, services_nodeports="2")
    body = {"metadata": {"name": "c"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    assert api.json("POST", f"{space}/services", body)[0] == 403
    body["spec"]["type"] = "ClusterIP"  # type: ignore[index]
    assert api.json("POST", f"{space}/services", body)[0] == 201


def test_compute_is_summed_and_has_to_be_specified(api: Any, space: str) -> None:
    limit(api, space, requests_cpu="1", limits_memory="1Gi")
    code, answer = api.json("POST", f"{space}/pods", pod("a", requests={"cpu": "600m"}))
    assert code == 403
    assert "failed quota: q: must specify limits.memory for: c" in answer["message"]
    fitting = {"requests": {"cpu": "600m"}, "limits": {"memory": "512Mi"}}
    assert api.json("POST", f"{space}/pods", pod("a", **fitting))[0] == 201
    code, answer = api.json("POST", f"{space}/pods", pod("b", **fitting))
    assert (
        "requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
        in (answer["message"])
    )
    assert used(api, space) == {"requests.cpu": "600m", "limits.memory": "512Mi"}


def test_finished_pods_and_pods_of_other_scopes_are_not_counted(api: Any, space: str) -> None:
    limit(api, space, scopes=["BestEffort"], pods="1")
    busy = pod("busy", requests={"cpu": "1"})
    assert api.json("POST", f"{space}/pods", busy)[0] == 201
    assert api.json("POST", f"{space}/pods", pod("a"))[0] == 201
    assert api.json("POST", f"{space}/pods", pod("b"))[0] == 403
    _, current = api.json("GET", f"{space}/pods/a")
    current["status"]["phase"] = "Succeeded"
    assert api.json("PUT", f"{space}/pods/a/status", current)[0] == 200
    assert api.json("POST", f"{space}/pods", pod("b"))[0] == 201


def test_racing_creators_get_exactly_what_is_left(api: Any, space: str) -> None:
    limit(api, space, configmaps="7")

    def create(number: int) -> int:
        body = {"metadata": {"name": f"c{number}"}}
        return int(api.json("POST", f"{space}/configmaps", body)[0])

    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(create, range(24)))
    assert sorted(codes) == [201] * 7 + [403] * 17
    assert used(api, space) == {"configmaps": "7"}


def test_a_dry_run_uses_nothing_but_is_refused_like_a_real_one(api: Any, space: str) -> None:
    limit(api, space, secrets="1")
    dry = f"{space}/secrets?dryRun=All"
    for _ in range(2):
        assert api.json("POST", dry, {"metadata": {"name": "s"}})[0] == 201
    assert api.json("POST", f"{space}/secrets", {"metadata": {"name": "s"}})[0] == 201
    assert api.json("POST", dry, {"metadata": {"name": "t"}})[0] == 403
