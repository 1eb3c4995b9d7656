from __future__ import annotations

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"


def make_volume(name, size="1Gi", **spec):
    given = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/nowhere"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    head = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    return {**head, "spec": {**given, **spec}}


def make_claim(name, size="1Gi", **spec):
    metadata = {"name": name, "namespace": "default"}
    given = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "storageClassName": "",
    }
    head = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
    return {**head, "spec": {**given, **spec}}


def phase(plane, resource, name, wanted):
    namespace = "default" if resource == CLAIMS else ""

    async def check():
        found = await plane.client.get(resource, name, namespace)
        return found if (found.get("status") or {}).get("phase") == wanted else None

    return check


def test_a_claim_gets_the_smallest_volume_that_fits_and_gives_it_back_released(control_plane):
    async def test(plane):
        await plane.manager(own_accounts=True)
        for name, size in (("small", "1Gi"), ("middle", "5Gi"), ("large", "50Gi")):
            await plane.client.create(VOLUMES, make_volume(name, size))
            await plane.until(phase(plane, VOLUMES, name, "Available"))
        await plane.client.create(CLAIMS, make_claim("data", "2Gi"))
        claim = await plane.until(phase(plane, CLAIMS, "data", "Bound"))
        assert claim["spec"]["volumeName"] == "middle"
        assert claim["status"]["capacity"] == {"storage": "5Gi"}
        volume = await plane.until(phase(plane, VOLUMES, "middle", "Bound"))
        assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
        await plane.client.delete(CLAIMS, "data", "default")
        await plane.gone(CLAIMS, "data")
        await plane.until(phase(plane, VOLUMES, "middle", "Released"))
        await plane.client.create(CLAIMS, make_claim("late", "1Gi", volumeName="large"))
        await plane.until(phase(plane, CLAIMS, "late", "Bound"))
        await plane.client.delete(VOLUMES, "small")
        await plane.gone(VOLUMES, "small", "")

    control_plane(test)


def test_a_claim_in_use_is_deleted_when_its_pod_is_gone(control_plane, make):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        await plane.client.create(CLAIMS, make_claim("data"))
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
        await plane.client.create("pods", make.pod("user", volumes=[volume]))

        async def protected():
            claim = await plane.client.get(CLAIMS, "data", "default")
            pod = await plane.client.get("pods", "user", "default")
            return claim["metadata"].get("finalizers") and pod["spec"].get("nodeName")

        await plane.until(protected)
        await plane.client.delete(CLAIMS, "data", "default")
        found = await plane.client.get(CLAIMS, "data", "default")
        assert found["metadata"]["deletionTimestamp"]
        await plane.client.delete("pods", "user", "default")
        await plane.gone(CLAIMS, "data")

    control_plane(test)


def test_an_ephemeral_volume_has_a_claim_that_the_pod_owns(control_plane, make):
    async def test(plane):
        await plane.manager()
        template = {"spec": make_claim("x")["spec"]}
        volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
        pod = await plane.client.create("pods", make.pod("p", volumes=[volume]))

        async def made():
            return await plane.items(CLAIMS)

        (claim,) = await plane.until(made)
        assert claim["metadata"]["name"] == "p-scratch"
        (owner,) = claim["metadata"]["ownerReferences"]
        assert owner["uid"] == pod["metadata"]["uid"]

    control_plane(test)
