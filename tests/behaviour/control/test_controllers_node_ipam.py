"""Nodes get networks for their pods."""

NETWORKS = {"cluster_cidrs": ["10.8.0.0/30", "fd00:8::/62"], "mask_sizes": {"4": 32, "6": 64}}


def test_each_node_gets_a_part_of_each_network_and_gives_it_back(control_plane, make):
    async def test(plane):
        async def has(name):
            async def check():
                spec = (await plane.client.get("nodes", name)).get("spec") or {}
                return spec.get("podCIDRs")

            return await plane.until(check)

        taken = make.node("own") | {"spec": {"podCIDR": "10.8.0.0/32", "podCIDRs": ["10.8.0.0/32"]}}
        await plane.client.create("nodes", taken)
        await plane.manager(
            node_ipam={**NETWORKS, "service_cidrs": ["10.8.0.1/32"]},
            controllers=["node-ipam"],
        )
        await plane.client.create("nodes", make.node("a"))
        assert await has("a") == ["10.8.0.2/32", "fd00:8::/64"]
        await plane.client.create("nodes", make.node("b"))
        assert await has("b") == ["10.8.0.3/32", "fd00:8:0:1::/64"]
        await plane.client.create("nodes", make.node("late"))

        async def told():
            events = await plane.items("events")
            return [e for e in events if e["reason"] == "CIDRNotAvailable"]

        (event,) = await plane.until(told)
        assert event["message"] == "Node late status is now: CIDRNotAvailable"
        await plane.client.delete("nodes", "a")
        assert (await has("late"))[0] == "10.8.0.2/32"

    control_plane(test)
