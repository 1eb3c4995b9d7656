"""The names of Services and pods."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.dns import zone

DOMAIN = "cluster.local"


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": name}, "spec": spec}


def made() -> zone.Zone:
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    services = [
        service("web", clusterIP="127.9.0.5", ports=[port]),
        service("db", clusterIP="None", ports=[port]),
        service("empty", clusterIP="None"),
        service("out", type="ExternalName", externalName="example.org."),
    ]
    item = {
        "metadata": {"namespace": "ns", "labels": {zone.SERVICE_LABEL: "db"}},
        "addressType": "IPv4",
        "ports": [port | {"port": 5432}],
        "endpoints": [
            {"addresses": ["127.8.1.2"], "hostname": "db-0"},
            {"addresses": ["127.8.1.3"], "conditions": {"ready": True}},
            {"addresses": ["127.8.1.4"], "conditions": {"ready": False}},
        ],
    }
    return zone.build(services, [item], DOMAIN)


@pytest.mark.parametrize(
    ("name", "type_", "values"),
    [
        ("web.ns.svc", "A", ["127.9.0.5"]),
        ("_http._tcp.web.ns.svc", "SRV", ["0 100 80 web.ns.svc.cluster.local"]),
        ("db.ns.svc", "A", ["127.8.1.2", "127.8.1.3"]),
        ("db-0.db.ns.svc", "A", ["127.8.1.2"]),
        ("127-8-1-3.db.ns.svc", "A", ["127.8.1.3"]),
        (
            "_http._tcp.db.ns.svc",
            "SRV",
            [
                "0 100 5432 db-0.db.ns.svc.cluster.local",
                "0 100 5432 127-8-1-3.db.ns.svc.cluster.local",
            ],
        ),
        ("127-8-1-9.ns.pod", "A", ["127.8.1.9"]),
        ("dns-version", "TXT", ["1.1.0"]),
    ],
)
def test_names_have_their_values(name: str, type_: str, values: list[str]) -> None:
    assert list(made().answer(f"{name}.{DOMAIN}", type_).values) == values


def test_an_external_name_is_an_alias_whatever_is_asked() -> None:
    answer = made().answer(f"out.ns.svc.{DOMAIN}", "A")
    assert (answer.type_, answer.values) == ("CNAME", ("example.org",))


@pytest.mark.parametrize("name", ["web.ns.svc", "empty.ns.svc", "ns.svc", "_tcp.web.ns.svc", "svc"])
def test_a_name_that_exists_has_no_data_of_another_type(name: str) -> None:
    answer = made().answer(f"{name}.{DOMAIN}", "AAAA")
    assert (answer.exists, answer.values) == (True, ())


@pytest.mark.parametrize("name", ["no.ns.svc", "web.other.svc", "300-1-1-1.ns.pod", "x"])
def test_other_names_do_not_exist(name: str) -> None:
    assert not made().answer(f"{name}.{DOMAIN}", "A").exists


def test_addresses_lead_back_to_their_names() -> None:
    known = made()
    found = known.reverse(zone.reverse_name("127.9.0.5"))
    assert found is not None
    assert found.values == ("web.ns.svc.cluster.local",)
    host = known.reverse(zone.reverse_name("127.8.1.2"))
    assert host is not None
    assert host.values == ("db-0.db.ns.svc.cluster.local",)
    assert known.reverse(zone.reverse_name("127.1.1.1")) is None
