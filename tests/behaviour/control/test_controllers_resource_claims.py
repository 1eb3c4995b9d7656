"""ResourceClaims that pods bring with them, and whom claims are reserved for."""

from cluster.controllers.resource_claims import CLAIMS, FINALIZER, POD_CLAIM_NAME, TEMPLATES

REQUEST = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}


def pod(name, **claim):
    container = {"name": "c", "image": "i", "resources": {"claims": [{"name": "gpu"}]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], "resourceClaims": [{"name": "gpu", **claim}]},
    }


def template(name):
    labels = {"labels": {"made": "yes"}}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"metadata": labels, "spec": REQUEST},
    }


async def the_claim(plane):
    async def check():
        found = await plane.items(CLAIMS)
        return found[0] if found else None

    return await plane.until(check)


def test_a_template_makes_a_claim_of_the_pods_own_that_ends_with_it(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.client.create("pods", pod("p", resourceClaimTemplateName="t"))

        async def refused():
            events = await plane.items("events")
            return [e for e in events if e["reason"] == "FailedResourceClaimCreation"]

        (event,) = await plane.until(refused)
        assert event["message"].startswith("PodResourceClaim gpu: ")
        await plane.client.create(TEMPLATES, template("t"))
        claim = await the_claim(plane)
        metadata = claim["metadata"]
        assert metadata["name"].startswith("p-gpu-")
        assert metadata["annotations"][POD_CLAIM_NAME] == "gpu"
        assert metadata["labels"] == {"made": "yes"}
        assert metadata["ownerReferences"][0]["name"] == "p"

        async def told():
            status = (await plane.client.get("pods", "p", "default")).get("status") or {}
            return status.get("resourceClaimStatuses")

        assert await plane.until(told) == [{"name": "gpu", "resourceClaimName": metadata["name"]}]
        done = {"status": {"phase": "Succeeded"}}
        await plane.client.patch("pods", "p", done, "default", subresource="status")
        await plane.gone(CLAIMS, metadata["name"])

    control_plane(test)


def test_pods_that_are_done_hold_a_claim_no_more_and_it_is_deallocated(control_plane):
    async def test(plane):
        await plane.manager()
        body = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": {"name": "shared", "namespace": "default", "finalizers": [FINALIZER]},
            "spec": REQUEST,
        }
        await plane.client.create(CLAIMS, body)
        holders = []
        for name in ("a", "b"):
            made = await plane.client.create("pods", pod(name, resourceClaimName="shared"))
            uid = made["metadata"]["uid"]
            holders.append({"resource": "pods", "name": name, "uid": uid})
        result = {"request": "r", "driver": "d.example.com", "pool": "p", "device": "x"}
        patch = {
            "metadata": {"finalizers": [FINALIZER]},
            "status": {"allocation": {"devices": {"results": [result]}}, "reservedFor": holders},
        }
        await plane.client.patch(CLAIMS, "shared", patch, "default", subresource="status")

        async def held():
            return (await plane.client.get(CLAIMS, "shared", "default")).get("status") or {}

        await plane.client.delete("pods", "a", "default", grace_period_s=0)

        async def by_one():
            status = await held()
            return len(status.get("reservedFor") or ()) == 1 and status

        status = await plane.until(by_one)
        assert status["reservedFor"] == [holders[1]]
        assert status["allocation"]
        done = {"status": {"phase": "Failed"}}
        await plane.client.patch("pods", "b", done, "default", subresource="status")

        async def free():
            found = await plane.client.get(CLAIMS, "shared", "default")
            status = found.get("status") or {}
            return not status.get("allocation") and not found["metadata"].get("finalizers")

        await plane.until(free)

    control_plane(test)
