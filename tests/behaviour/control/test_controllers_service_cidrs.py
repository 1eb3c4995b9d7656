"""ServiceCIDRs come into use and are let go of."""

import pytest

from cluster.controllers import service_cidrs
from cluster.machinery.status import ApiError

CIDRS, ADDRESSES = service_cidrs.CIDRS, service_cidrs.ADDRESSES


def cidr(name, *networks):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": name},
        "spec": {"cidrs": list(networks)},
    }


def service(name, address):
    spec = {"clusterIP": address, "ports": [{"port": 80}]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


async def condition(plane, name, status):
    async def check():
        found = (await plane.client.get(CIDRS, name)).get("status") or {}
        ready = [c for c in found.get("conditions") or () if c["type"] == "Ready"]
        return ready[0] if ready and ready[0]["status"] == status else None

    return await plane.until(check)


def test_a_network_stays_until_no_service_needs_it(control_plane, monkeypatch):
    monkeypatch.setattr(service_cidrs, "GRACE_S", 0.2)

    async def test(plane):
        await plane.manager()
        await plane.client.create(CIDRS, cidr("second", "10.9.0.0/28"))
        told = await condition(plane, "second", "True")
        assert told["message"] == "Kubernetes Service CIDR is ready"
        await plane.client.create("services", service("a", "10.9.0.5"), "default")
        await plane.client.delete(CIDRS, "second")
        told = await condition(plane, "second", "False")
        assert (told["reason"], told["message"]) == ("Terminating", service_cidrs.STILL_USED)
        with pytest.raises(ApiError, match="does not match the current range"):
            await plane.client.create("services", service("b", "10.9.0.6"), "default")
        await plane.client.delete("services", "a", "default")
        await plane.gone(CIDRS, "second", "")

    control_plane(test)


def test_a_wider_network_takes_over_the_addresses_of_one_that_goes(control_plane, monkeypatch):
    monkeypatch.setattr(service_cidrs, "GRACE_S", 0.2)

    async def test(plane):
        await plane.manager()
        await plane.client.create(CIDRS, cidr("narrow", "10.9.0.0/28"))
        await condition(plane, "narrow", "True")
        await plane.client.create("services", service("a", "10.9.0.5"), "default")
        await plane.client.delete(CIDRS, "narrow")
        await condition(plane, "narrow", "False")
        await plane.client.create(CIDRS, cidr("wide", "10.9.0.0/24"))
        await plane.gone(CIDRS, "narrow", "")
        assert await plane.client.get(ADDRESSES, "10.9.0.5")

    control_plane(test)
