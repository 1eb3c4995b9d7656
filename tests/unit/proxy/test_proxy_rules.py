"""Rules and backend choice of the proxy."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.proxy import rules
from cluster.proxy.balancer import Balancer
from cluster.proxy.rules import Backend, Frontend, Rule


def service(**spec: Any) -> dict[str, Any]:
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    base: dict[str, Any] = {"clusterIP": "127.9.0.5", "ports": [port]}
    return {"metadata": {"namespace": "ns", "name": "web"}, "spec": base | spec}


def endpoint(last: int, node: str = "n1", **conditions: bool | None) -> dict[str, Any]:
    return {"addresses": [f"127.8.1.{last}"], "nodeName": node, "conditions": conditions}


def piece(*endpoints: dict[str, Any], port: str = "http") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "web-1", "labels": {rules.SERVICE_LABEL: "web"}},
        "addressType": "IPv4",
        "ports": [{"name": port, "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def backends(svc: dict[str, Any], *slices: dict[str, Any]) -> list[str]:
    found = rules.build([svc], slices, "n1", "127.8.1.1")
    rule = found.get(Frontend("127.9.0.5", 80, "TCP"))
    return [backend.host for backend in rule.backends] if rule else []


def test_only_ready_endpoints_of_all_slices_get_traffic() -> None:
    first = piece(endpoint(2, ready=True), endpoint(3, ready=False))
    second = piece(endpoint(4))
    assert backends(service(), first, second) == ["127.8.1.2", "127.8.1.4"]


def test_endpoints_that_terminate_but_serve_are_used_when_none_is_ready() -> None:
    going = endpoint(2, ready=False, serving=True, terminating=True)
    silent = endpoint(3, ready=False, serving=False, terminating=True)
    assert backends(service(), piece(going, silent)) == ["127.8.1.2"]
    assert backends(service(), piece(going, silent, endpoint(4, ready=True))) == ["127.8.1.4"]


def test_a_local_policy_keeps_to_this_node() -> None:
    both = piece(endpoint(2, node="n1"), endpoint(3, node="n2"))
    assert backends(service(internalTrafficPolicy="Local"), both) == ["127.8.1.2"]
    assert backends(service(internalTrafficPolicy="Cluster"), both) == ["127.8.1.2", "127.8.1.3"]


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"type": "ExternalName"}])
def test_services_without_an_address_have_no_rule(spec: dict[str, Any]) -> None:
    assert rules.build([service(**spec)], [piece(endpoint(2))], "n1", "") == {}


def test_a_port_of_another_name_or_no_endpoint_gives_no_listener() -> None:
    assert backends(service(), piece(endpoint(2), port="other")) == []
    assert backends(service()) == []


def test_a_node_port_is_served_on_the_node_address() -> None:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30001}]
    found = rules.build([service(ports=ports)], [piece(endpoint(2))], "n1", "127.8.1.1")
    assert found[Frontend("127.8.1.1", 30001, "TCP")].backends == (Backend("127.8.1.2", 8080),)


def balancer(affinity_s: float | None = None) -> Balancer:
    return Balancer(Rule("ns/web", tuple(Backend("h", n) for n in (1, 2, 3)), affinity_s))


def test_round_robin_begins_with_each_backend_in_turn_and_offers_the_others() -> None:
    chosen = balancer()
    orders = [[b.port for b in chosen.order("c", 0.0)] for _ in range(4)]
    assert orders == [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]


def test_a_client_stays_with_its_backend_until_the_affinity_times_out() -> None:
    chosen = balancer(affinity_s=10)
    chosen.connected("c", Backend("h", 3), 0.0)
    assert [chosen.order("c", 10.0)[0].port for _ in range(3)] == [3, 3, 3]
    assert {chosen.order("d", 10.0)[0].port for _ in range(3)} == {1, 2, 3}
    assert {chosen.order("c", 10.1)[0].port for _ in range(3)} == {1, 2, 3}


def test_affinity_ends_with_the_backend() -> None:
    chosen = balancer(affinity_s=10)
    chosen.connected("c", Backend("h", 3), 0.0)
    chosen.rule = Rule("ns/web", (Backend("h", 1),), 10)
    assert [b.port for b in chosen.order("c", 1.0)] == [1]
