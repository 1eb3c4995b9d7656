from __future__ import annotations

import asyncio
import contextlib

from cluster.controllers import taints
from cluster.machinery import meta

LEASES = "leases.coordination.k8s.io"


READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


class Heart:
    """Renews a node's Lease, and keeps its Ready condition, as a kubelet does."""

    def __init__(self, plane, name):
        self.plane, self.name = plane, name
        self.task = asyncio.create_task(self.beat())

    async def beat(self):
        namespace = {"kind": "Namespace", "apiVersion": "v1"}
        with contextlib.suppress(Exception):
            await self.plane.client.create(
                "namespaces", namespace | {"metadata": {"name": "kube-node-lease"}}
            )
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 40},
        }
        await self.plane.client.create(LEASES, lease)
        while True:
            now = meta.format_micro_time(self.plane.seams.clock.wall())
            change = {"spec": {"renewTime": now}}
            await self.plane.client.patch(LEASES, self.name, change, "kube-node-lease")
            await self.plane.client.patch(
                "nodes", self.name, READY, kind="strategic", subresource="status"
            )
            await asyncio.sleep(0.2)

    async def stop(self):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


def condition_of(plane, name, status):
    async def check():
        node = await plane.client.get("nodes", name)
        return node if meta.condition_is(node, "Ready", status) else None

    return check


def pod_on(make, name, node, **spec):
    return make.pod(name, nodeName=node, **spec)


def test_a_node_that_falls_silent_is_tainted_and_its_pods_are_evicted(control_plane, make):
    async def test(plane):
        for name in ("n1", "n2"):
            await plane.client.create("nodes", make.node(name))
        hearts = [Heart(plane, "n1"), Heart(plane, "n2")]
        await plane.manager(node_grace_s=1.0)
        await plane.run_pods()
        stays = [{"operator": "Exists"}]
        brief = [
            {
                "key": taints.UNREACHABLE,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 1,
            }
        ]
        await plane.client.create("pods", pod_on(make, "brief", "n1", tolerations=brief))
        await plane.client.create("pods", pod_on(make, "stays", "n1", tolerations=stays))
        await plane.client.create("pods", pod_on(make, "elsewhere", "n2", tolerations=brief))

        async def running():
            return all(meta.condition_is(p, "Ready") for p in await plane.items("pods"))

        await plane.until(running)
        await asyncio.sleep(1.5)
        assert await condition_of(plane, "n1", "True")()
        await hearts[0].stop()
        node = await plane.until(condition_of(plane, "n1", "Unknown"))
        assert meta.condition(node, "Ready")["reason"] == "NodeStatusUnknown"

        async def tainted():
            found = await plane.client.get("nodes", "n1")
            spec = found.get("spec") or {}
            marks = {(t["key"], t["effect"]) for t in spec.get("taints") or ()}
            both = {(taints.UNREACHABLE, "NoExecute"), (taints.UNREACHABLE, "NoSchedule")}
            return both <= marks

        await plane.until(tainted)
        await plane.gone("pods", "brief")
        left = {p["metadata"]["name"]: p for p in await plane.items("pods")}
        assert set(left) == {"stays", "elsewhere"}
        assert not meta.condition_is(left["stays"], "Ready")
        assert meta.condition_is(left["elsewhere"], "Ready")
        other = await plane.client.get("nodes", "n2")
        assert not (other.get("spec") or {}).get("taints")
        await hearts[1].stop()

    control_plane(test)


def test_a_node_that_comes_back_loses_its_taints(control_plane, make):
    async def test(plane):
        await plane.client.create("nodes", make.node("n1"))
        await plane.manager(node_grace_s=0.5)
        await plane.until(condition_of(plane, "n1", "Unknown"))
        heart = Heart(plane, "n1")

        async def clean():
            found = await plane.client.get("nodes", "n1")
            return not (found.get("spec") or {}).get("taints")

        await plane.until(clean)
        await heart.stop()

    control_plane(test)


def test_pods_of_a_node_that_is_gone_are_removed(control_plane, make):
    async def test(plane):
        await plane.client.create("nodes", make.node("n1"))
        await plane.manager(gone_node_grace_s=0.5)
        await plane.client.create("pods", pod_on(make, "lost", "n1"))
        await plane.client.delete("nodes", "n1")
        await plane.gone("pods", "lost")

    control_plane(test)


def test_another_manager_takes_over_when_the_first_stops(control_plane, make):
    async def test(plane):
        first = await plane.manager("cm-0")
        await plane.leading(first)
        second = await plane.manager("cm-1")
        await plane.run_pods()
        assert not (await second.health()).facts["leader"]
        await plane.stop(first)
        lease = await plane.client.get(LEASES, "kube-controller-manager", "kube-system")
        assert not lease["spec"]["holderIdentity"].startswith("cm-0_"), "it was not released"
        await plane.leading(second)
        await plane.client.create("deployments.apps", make.deployment(replicas=2))

        async def running():
            return len(await plane.items("pods")) == 2

        await plane.until(running)
        lease = await plane.client.get(LEASES, "kube-controller-manager", "kube-system")
        assert lease["spec"]["holderIdentity"].startswith("cm-1_")
        assert lease["spec"]["leaseTransitions"] == 1

    control_plane(test)


def test_a_manager_that_loses_its_lease_stops_at_once(control_plane):
    async def test(plane):
        manager = await plane.manager("cm-0")
        await plane.leading(manager)
        thief = {"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 60}}
        await plane.client.patch(LEASES, "kube-controller-manager", thief, "kube-system")

        async def stands_by():
            health = await manager.health()
            return health.ready and not health.facts["leader"] and not health.facts["controllers"]

        await plane.until(stands_by, 3)

    control_plane(test)
