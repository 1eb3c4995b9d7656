"""Which volumes are attached where: nodes and drivers are plain objects, the test is the driver."""

from __future__ import annotations

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
ATTACHMENTS = "volumeattachments.storage.k8s.io"
DRIVER = "disks.example.com"
UNIQUE = f"kubernetes.io/csi/{DRIVER}^h-data"


async def prepare(plane, make, mode="ReadWriteOnce", **manager):
    await plane.manager(own_accounts=True, **manager)
    driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER}}
    await plane.client.create("csidrivers.storage.k8s.io", {**driver, "spec": {}})
    for name in ("n1", "n2"):
        await plane.client.create("nodes", make.node(name))
    spec = {"accessModes": [mode], "storageClassName": ""}
    volume = {
        **spec,
        "capacity": {"storage": "1Gi"},
        "csi": {"driver": DRIVER, "volumeHandle": "h-data"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    head = {"apiVersion": "v1", "metadata": {"name": "data", "namespace": "default"}}
    request = {"resources": {"requests": {"storage": "1Gi"}}}
    await plane.client.create(
        VOLUMES,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "data"},
            "spec": volume,
        },
    )
    claim = {**head, "kind": "PersistentVolumeClaim", "spec": {**spec, **request}}
    await plane.client.create(CLAIMS, claim)

    async def bound():
        found = await plane.client.get(CLAIMS, "data", "default")
        return (found.get("status") or {}).get("phase") == "Bound"

    await plane.until(bound, 60)


async def pod_on(plane, make, name, node):
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await plane.client.create("pods", make.pod(name, nodeName=node, volumes=[volume]))


async def attachments(plane):
    return {a["spec"]["nodeName"]: a for a in await plane.items(ATTACHMENTS, "")}


def attached_to(plane, *nodes):
    async def check():
        found = await attachments(plane)
        return (found or True) if set(found) == set(nodes) else None

    return check


async def acknowledge(plane, attachment):
    """What the driver does when it has attached."""
    new = {**attachment, "status": {"attached": True}}
    await plane.client.update(ATTACHMENTS, new, subresource="status")


async def set_status(plane, node, **status):
    await plane.client.patch("nodes", node, {"status": status}, subresource="status")


def listed(plane, node, *names):
    async def check():
        found = await plane.client.get("nodes", node)
        entries = found["status"].get("volumesAttached") or ()
        return [entry["name"] for entry in entries] == list(names)

    return check


async def remove(plane, name):
    await plane.client.delete("pods", name, "default", grace_period_s=0)


def test_a_volume_is_attached_to_one_node_until_that_does_not_use_it(control_plane, make):
    async def test(plane):
        await prepare(plane, make)
        await pod_on(plane, make, "a", "n1")
        found = await plane.until(attached_to(plane, "n1"), 60)
        assert found["n1"]["spec"]["source"] == {"persistentVolumeName": "data"}
        await acknowledge(plane, found["n1"])
        await plane.until(listed(plane, "n1", UNIQUE), 60)
        await set_status(plane, "n1", volumesInUse=[UNIQUE])
        await pod_on(plane, make, "b", "n2")

        async def told():
            events = await plane.items("events")
            return [e for e in events if "Multi-Attach error" in e.get("message", "")]

        await plane.until(told, 60)
        await remove(plane, "a")
        assert set(await attachments(plane)) == {"n1"}
        await set_status(plane, "n1", volumesInUse=None)
        await plane.until(attached_to(plane, "n2"), 60)
        await plane.until(listed(plane, "n1"), 60)

    control_plane(test, 200)


def test_a_volume_for_many_is_attached_to_many(control_plane, make):
    async def test(plane):
        await prepare(plane, make, "ReadWriteMany")
        await pod_on(plane, make, "a", "n1")
        await pod_on(plane, make, "b", "n2")
        await plane.until(attached_to(plane, "n1", "n2"), 60)

    control_plane(test, 200)


def test_a_node_that_is_silent_loses_its_volumes_after_a_time(control_plane, make):
    async def test(plane):
        await prepare(plane, make, force_detach_s=0.5)
        await pod_on(plane, make, "a", "n1")
        await plane.until(attached_to(plane, "n1"), 60)
        await set_status(
            plane, "n1", volumesInUse=[UNIQUE], conditions=[{"type": "Ready", "status": "Unknown"}]
        )
        await remove(plane, "a")
        await plane.until(attached_to(plane), 60)

    control_plane(test, 200)


def test_a_node_out_of_service_or_gone_loses_its_volumes_at_once(control_plane, make):
    async def test(plane):
        await prepare(plane, make, force_detach_s=3600)
        for node in ("n1", "n2"):
            await pod_on(plane, make, f"on-{node}", node)
            await plane.until(attached_to(plane, node), 60)
            await set_status(
                plane,
                node,
                volumesInUse=[UNIQUE],
                conditions=[{"type": "Ready", "status": "Unknown"}],
            )
            if node == "n1":
                taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
                await plane.client.patch("nodes", node, {"spec": {"taints": [taint]}})
            else:
                await plane.client.delete("nodes", node)
            await remove(plane, f"on-{node}")
            await plane.until(attached_to(plane), 60)

    control_plane(test, 200)
