from __future__ import annotations

import pytest


def make_daemonset(**spec):
    template = {
        "metadata": {"labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "c", "image": "v1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template, **spec},
    }


async def start(plane, make, nodes, **spec):
    await plane.manager(node_grace_s=3600)
    await plane.scheduler()
    await plane.run_pods(bind=False)
    for number in range(nodes):
        await plane.client.create("nodes", make.node(f"n{number}"))
    await plane.client.create("daemonsets.apps", make_daemonset(**spec))


def settled(plane, count):
    async def check():
        found = await plane.client.get("daemonsets.apps", "agent", "default")
        status = found.get("status") or {}
        numbers = [
            status.get(name, 0)
            for name in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
        ]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if seen and numbers == [count] * 3 else None

    return check


async def images(plane):
    found = await plane.items("pods")
    live = [p for p in found if not p["metadata"].get("deletionTimestamp")]
    return sorted(
        (p["spec"].get("nodeName", ""), p["spec"]["containers"][0]["image"]) for p in live
    )


async def set_image(plane, image):
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await plane.client.patch("daemonsets.apps", "agent", change, "default", kind="strategic")


def test_each_node_has_one_pod_new_nodes_and_cordoned_ones_too(control_plane, make):
    async def test(plane):
        await start(plane, make, 2)
        await plane.until(settled(plane, 2))
        late = make.node("late") | {"spec": {"unschedulable": True}}
        await plane.client.create("nodes", late)
        await plane.until(settled(plane, 3))
        assert [node for node, _ in await images(plane)] == ["late", "n0", "n1"]
        change = {
            "spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "n1"}}}}
        }
        await plane.client.patch("daemonsets.apps", "agent", change, "default")
        await plane.until(settled(plane, 1))
        assert [node for node, _ in await images(plane)] == ["n1"]

    control_plane(test)


@pytest.mark.parametrize("limits", [{"maxUnavailable": 1}, {"maxSurge": 1, "maxUnavailable": 0}])
def test_an_update_replaces_pods_within_its_limits_and_can_be_undone(control_plane, make, limits):
    async def test(plane):
        strategy = {"type": "RollingUpdate", "rollingUpdate": limits}
        await start(plane, make, 3, updateStrategy=strategy)
        await plane.until(settled(plane, 3))
        low, high = [], []

        def watch(kind, old, new):
            live = [
                p
                for p in plane.kubelet.informer.list()
                if not p["metadata"].get("deletionTimestamp")
            ]
            ready = [p for p in live if "podIP" in (p.get("status") or {})]
            low.append(len(ready))
            high.append(len(live))

        plane.kubelet.informer.subscribe(watch)
        await set_image(plane, "v2")
        await plane.until(settled(plane, 3))
        assert {image for _, image in await images(plane)} == {"v2"}
        assert min(low) >= 3 - limits["maxUnavailable"]
        assert max(high) <= 3 + limits.get("maxSurge", 0)
        found = await plane.items("controllerrevisions.apps")
        first = min(found, key=lambda r: r["revision"])
        await plane.client.patch(
            "daemonsets.apps", "agent", first["data"], "default", kind="strategic"
        )
        await plane.until(settled(plane, 3))
        assert {image for _, image in await images(plane)} == {"v1"}
        found = await plane.items("controllerrevisions.apps")
        assert sorted(r["revision"] for r in found) == [2, 3]

    control_plane(test)


def test_on_delete_leaves_pods_until_somebody_deletes_them(control_plane, make):
    async def test(plane):
        await start(plane, make, 2, updateStrategy={"type": "OnDelete"})
        await plane.until(settled(plane, 2))
        await set_image(plane, "v2")

        async def two_revisions():
            return len(await plane.items("controllerrevisions.apps")) == 2

        await plane.until(two_revisions)
        assert {image for _, image in await images(plane)} == {"v1"}
        (pod,) = [p for p in await plane.items("pods") if p["spec"]["nodeName"] == "n0"]
        await plane.client.delete("pods", pod["metadata"]["name"], "default")

        async def replaced():
            return await images(plane) == [("n0", "v2"), ("n1", "v1")]

        await plane.until(replaced)

    control_plane(test)
