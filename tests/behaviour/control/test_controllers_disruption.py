from __future__ import annotations

import asyncio

import pytest

from cluster.machinery import meta
from cluster.machinery.status import ApiError

BUDGETS = "poddisruptionbudgets.policy"


def make_budget(**spec):
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


def allowing(plane, count):
    async def check():
        found = await plane.client.get(BUDGETS, "web", "default")
        status = found.get("status") or {}
        return found if status.get("disruptionsAllowed") == count else None

    return check


async def evict(plane, name):
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    await plane.client.create("pods", eviction, "default", subresource="eviction", name=name)


async def start(plane, make, **spec):
    await plane.manager(node_grace_s=3600)
    await plane.run_pods()
    await plane.client.create("nodes", make.node("n1"))
    await plane.client.create("deployments.apps", make.deployment())

    async def ready():
        pods = await plane.items("pods")
        return len(pods) == 3 and all(meta.condition_is(p, "Ready") for p in pods)

    await plane.until(ready)
    await plane.client.create(BUDGETS, make_budget(**spec))


def test_no_more_pods_are_evicted_than_the_budget_allows(control_plane, make):
    async def test(plane):
        await start(plane, make, minAvailable=2)
        found = await plane.until(allowing(plane, 1))
        assert found["status"]["expectedPods"] == 3
        names = [p["metadata"]["name"] for p in await plane.items("pods")]
        results = await asyncio.gather(*(evict(plane, n) for n in names), return_exceptions=True)
        refused = [r for r in results if isinstance(r, ApiError)]
        assert [(r.code, r.reason) for r in refused] == [(429, "TooManyRequests")] * 2
        assert refused[0].status["details"]["causes"][0]["reason"] == "DisruptionBudget"
        await plane.until(allowing(plane, 1))

    control_plane(test)


def test_a_budget_that_allows_none_refuses_and_two_budgets_are_an_error(control_plane, make):
    async def test(plane):
        await start(plane, make, maxUnavailable=0)
        await plane.until(allowing(plane, 0))
        name = (await plane.items("pods"))[0]["metadata"]["name"]
        with pytest.raises(ApiError) as caught:
            await evict(plane, name)
        assert caught.value.message == (
            "Cannot evict pod as it would violate the pod's disruption budget."
        )
        second = make_budget(minAvailable=1)
        second["metadata"]["name"] = "second"
        await plane.client.create(BUDGETS, second)
        with pytest.raises(ApiError) as caught:
            await evict(plane, name)
        assert caught.value.code == 500

    control_plane(test)


def test_kubectl_drain_never_takes_more_than_the_budget_allows(control_plane, make):
    async def test(plane):
        await start(plane, make, minAvailable=2)
        await plane.until(allowing(plane, 1))
        before = {p["metadata"]["uid"] for p in await plane.items("pods")}
        lowest = []

        def watch(kind, old, new):
            live = [p for p in plane.kubelet.informer.list() if meta.condition_is(p, "Ready")]
            lowest.append(sum(not p["metadata"].get("deletionTimestamp") for p in live))

        plane.kubelet.informer.subscribe(watch)
        await plane.kubectl("drain", "n1", "--timeout=40s")
        after = {p["metadata"]["uid"] for p in await plane.items("pods")}
        assert not before & after
        assert min(lowest) >= 2

    control_plane(test)
