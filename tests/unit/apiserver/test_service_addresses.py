"""The addresses of Services are IPAddress objects, taken from the ServiceCIDRs that are ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import RunningApi

from cluster.storage.claim_repair import ClaimRepair, Plan

SERVICES = "/api/v1/namespaces/default/services"
NETWORKING = "/apis/networking.k8s.io/v1"
ADDRESSES = f"{NETWORKING}/ipaddresses"
STATUS = {"Content_Type": "application/merge-patch+json"}


@pytest.fixture
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"), service_cidr="127.98.0.0/29")
    yield running
    running.close()


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def must(api: Any, path: str, body: Any, code: int = 201) -> Any:
    found, answer = api.json("POST", path, body)
    assert found == code, answer
    return answer


def addresses(api: Any) -> dict[str, str]:
    found = api.json("GET", ADDRESSES)[1]["items"]
    return {a["metadata"]["name"]: a["spec"]["parentRef"]["name"] for a in found}


def test_an_address_is_an_object_for_as_long_as_its_service_is_there(api: Any) -> None:
    assert addresses(api) == {"127.98.0.1": "kubernetes"}
    made = must(api, SERVICES, service("web"))["spec"]["clusterIP"]
    found = api.json("GET", f"{ADDRESSES}/{made}")[1]
    assert found["spec"]["parentRef"] == {
        "group": "", "resource": "services", "namespace": "default", "name": "web"
    }  # fmt: skip
    assert found["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert "web" in api.kubectl("get", "ipaddress", made)
    answer = must(api, SERVICES, service("other", clusterIP=made), 422)
    assert "provided IP is already allocated" in answer["message"]
    api.json("DELETE", f"{SERVICES}/web")
    assert addresses(api) == {"127.98.0.1": "kubernetes"}
    must(api, SERVICES, service("other", clusterIP=made))


def test_a_full_network_is_helped_by_another_one_once_that_is_ready(api: Any) -> None:
    cidr = api.json("GET", f"{NETWORKING}/servicecidrs/kubernetes")[1]
    assert cidr["spec"]["cidrs"] == ["127.98.0.0/29"]
    assert cidr["status"]["conditions"][0]["status"] == "True"
    for number in range(5):
        must(api, SERVICES, service(f"s{number}"))
    answer = must(api, SERVICES, service("more"), 500)
    assert answer["message"].endswith("failed to allocate a serviceIP: range is full")
    body = {"metadata": {"name": "second"}, "spec": {"cidrs": ["127.97.0.0/28"]}}
    must(api, f"{NETWORKING}/servicecidrs", body)
    must(api, SERVICES, service("more"), 500)
    answer = must(api, SERVICES, service("mine", clusterIP="127.97.0.5"), 422)
    assert "does not match the current range" in answer["message"]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    path = f"{NETWORKING}/servicecidrs/second/status"
    patch = {"status": {"conditions": [{**ready, "reason": "x", "message": "y"}]}}
    assert api.json("PATCH", path, patch, **STATUS)[0] == 200
    drawn = must(api, SERVICES, service("more"))["spec"]["clusterIP"]
    assert drawn.startswith("127.97.0.")
    free = "127.97.0.5" if drawn != "127.97.0.5" else "127.97.0.6"
    must(api, SERVICES, service("mine", clusterIP=free))


def test_claims_that_were_tampered_with_are_put_right(api: Any) -> None:
    made = must(api, SERVICES, service("web", type="NodePort"))["spec"]
    port = made["ports"][0]["nodePort"]
    assert api.json("DELETE", f"{ADDRESSES}/{made['clusterIP']}")[0] == 200
    claim = f"/registry/ranges/servicenodeports/{port}".encode()
    stray = b"/registry/ranges/servicenodeports/31999"

    async def spoil() -> None:
        await api.store.delete(claim)
        await api.store.put(stray, b"/registry/services/default/gone")

    api.call(spoil())
    repair = ClaimRepair(api.store, api.server._seams)
    found = api.call(repair.repair())
    assert len(found.missing) == 2
    assert [kv.key for kv in found.stray] == [stray]
    assert addresses(api)[made["clusterIP"]] == "web"
    answer = must(
        api, SERVICES, service("b", type="NodePort", ports=[{"port": 1, "nodePort": port}]), 422
    )
    assert "provided port is already allocated" in answer["message"]
    again = api.call(repair.repair())
    assert again == Plan()
