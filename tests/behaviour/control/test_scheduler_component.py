from __future__ import annotations

import asyncio
from collections import Counter

from cluster.machinery import meta


def placed(plane, count):
    async def check():
        pods = await plane.items("pods")
        where = Counter(p["spec"].get("nodeName") for p in pods if p["spec"].get("nodeName"))
        return where if sum(where.values()) == count else None

    return check


async def add_pods(plane, make, names, **options):
    await asyncio.gather(
        *(plane.client.create("pods", make.pod(name, **options)) for name in names)
    )


def test_pods_spread_over_the_nodes(control_plane, make):
    async def test(plane):
        for n in range(3):
            await plane.client.create("nodes", make.node(f"n{n}"))
        await plane.scheduler()
        await add_pods(plane, make, [f"p{n}" for n in range(30)])
        where = await plane.until(placed(plane, 30))
        assert set(where.values()) == {10}
        pod = await plane.client.get("pods", "p0", "default")
        assert meta.condition_is(pod, "PodScheduled")

        async def told():
            return [e for e in await plane.items("events") if e["reason"] == "Scheduled"]

        event = (await plane.until(told))[0]
        name = event["involvedObject"]["name"]
        node = (await plane.client.get("pods", name, "default"))["spec"]["nodeName"]
        assert event["message"] == f"Successfully assigned default/{name} to {node}"

    control_plane(test)


def test_a_pod_that_fits_nowhere_says_why_and_is_placed_when_a_node_comes(control_plane, make):
    async def test(plane):
        tainted = make.node("n1")
        tainted["spec"] = {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}
        await plane.client.create("nodes", tainted)
        await plane.client.create("nodes", make.node("n2", cpu="1"))
        await plane.scheduler()
        await add_pods(plane, make, ["big"], cpu="2")
        message = (
            "0/2 nodes are available: 1 Insufficient cpu, "
            "1 node(s) had untolerated taint {k: v}. preemption: 0/2 nodes are available: "
            "2 Preemption is not helpful for scheduling."
        )

        async def refused():
            pod = await plane.client.get("pods", "big", "default")
            condition = meta.condition(pod, "PodScheduled") or {}
            return condition if condition.get("status") == "False" else None

        condition = await plane.until(refused)
        assert (condition["reason"], condition["message"]) == ("Unschedulable", message)

        async def told():
            events = await plane.items("events")
            return [e["message"] for e in events if e["reason"] == "FailedScheduling"]

        assert (await plane.until(told))[0] == message
        await plane.client.create("nodes", make.node("n3"))
        assert await plane.until(placed(plane, 1)) == {"n3": 1}

    control_plane(test)


def test_nodes_are_filled_but_never_overcommitted_and_freed_room_is_used(control_plane, make):
    async def test(plane):
        for n in range(2):
            await plane.client.create("nodes", make.node(f"n{n}", cpu="1"))
        await plane.scheduler()
        await add_pods(plane, make, [f"p{n}" for n in range(12)], cpu="250m")
        where = await plane.until(placed(plane, 8))
        assert where == {"n0": 4, "n1": 4}
        victim = next(p for p in await plane.items("pods") if p["spec"].get("nodeName"))
        name = victim["metadata"]["name"]
        await plane.client.delete("pods", name, "default", grace_period_s=0)
        await plane.until(placed(plane, 8))

        async def node_load():
            pods = await plane.items("pods")
            return Counter(p["spec"].get("nodeName") for p in pods)

        load = await node_load()
        assert (load["n0"], load["n1"]) == (4, 4)

    control_plane(test)


def test_a_gated_pod_waits_for_its_gates(control_plane, make):
    async def test(plane):
        await plane.client.create("nodes", make.node("n1"))
        await plane.scheduler()
        await add_pods(plane, make, ["gated"], schedulingGates=[{"name": "example.com/g"}])
        await add_pods(plane, make, ["free"])
        assert await plane.until(placed(plane, 1)) == {"n1": 1}
        await plane.client.patch("pods", "gated", {"spec": {"schedulingGates": None}}, "default")
        await plane.until(placed(plane, 2))

    control_plane(test)


def test_hand_over_in_the_middle_of_the_work_overcommits_nothing(control_plane, make):
    async def test(plane):
        for n in range(2):
            await plane.client.create("nodes", make.node(f"n{n}", cpu="5"))
        first = await plane.scheduler("s0")
        await plane.leading(first)
        await plane.scheduler("s1")
        adding = asyncio.create_task(
            add_pods(plane, make, [f"p{n}" for n in range(120)], cpu="100m")
        )

        async def some():
            pods = await plane.items("pods")
            return sum("nodeName" in p["spec"] for p in pods) > 10

        await plane.until(some)
        await plane.stop(first)
        await adding
        where = await plane.until(placed(plane, 100))
        assert where == {"n0": 50, "n1": 50}

    control_plane(test)
