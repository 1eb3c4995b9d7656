from __future__ import annotations

import pytest

from cluster.machinery import meta


def configmap(name, *owners, namespace="default", finalizers=()):
    references = [meta.owner_reference(owner) for owner in owners]
    metadata = {"name": name, "namespace": namespace, "ownerReferences": references}
    metadata["finalizers"] = list(finalizers)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}}


async def family(plane, *, finalizers=()):
    owner = await plane.client.create("configmaps", configmap("owner"))
    child = configmap("child", owner, finalizers=finalizers)
    return owner, await plane.client.create("configmaps", child)


def test_background_deletion_takes_the_dependents_afterwards(control_plane):
    async def test(plane):
        await plane.manager()
        _, child = await family(plane)
        await plane.client.create("configmaps", configmap("grandchild", child))
        await plane.client.delete("configmaps", "owner", "default", propagation="Background")
        for name in ("owner", "child", "grandchild"):
            await plane.gone("configmaps", name)

    control_plane(test)


def test_foreground_deletion_waits_for_the_dependents(control_plane):
    async def test(plane):
        await plane.manager()
        await family(plane, finalizers=["example.com/hold"])
        await plane.client.delete("configmaps", "owner", "default", propagation="Foreground")

        async def child_ends():
            child = await plane.client.get("configmaps", "child", "default")
            return child["metadata"].get("deletionTimestamp")

        await plane.until(child_ends)
        owner = await plane.client.get("configmaps", "owner", "default")
        assert owner["metadata"]["finalizers"] == ["foregroundDeletion"]
        release = {"metadata": {"finalizers": None}}
        await plane.client.patch("configmaps", "child", release, "default")
        await plane.gone("configmaps", "child")
        await plane.gone("configmaps", "owner")

    control_plane(test)


def test_orphaning_leaves_the_dependents_without_an_owner(control_plane):
    async def test(plane):
        await plane.manager()
        await family(plane)
        await plane.client.delete("configmaps", "owner", "default", propagation="Orphan")
        await plane.gone("configmaps", "owner")
        child = await plane.client.get("configmaps", "child", "default")
        assert not child["metadata"].get("ownerReferences")

    control_plane(test)


def test_a_dependent_stays_while_one_of_its_owners_does(control_plane):
    async def test(plane):
        await plane.manager()
        one = await plane.client.create("configmaps", configmap("one"))
        two = await plane.client.create("configmaps", configmap("two"))
        child = configmap("child", one)
        child["metadata"]["ownerReferences"].append(meta.owner_reference(two, controller=False))
        await plane.client.create("configmaps", child)
        await plane.client.delete("configmaps", "one", "default", propagation="Background")

        async def one_owner():
            found = await plane.client.get("configmaps", "child", "default")
            return [r["name"] for r in found["metadata"]["ownerReferences"]] == ["two"]

        await plane.until(one_owner)

    control_plane(test)


def test_an_object_made_for_an_owner_that_never_was_is_deleted(control_plane):
    async def test(plane):
        await plane.manager()
        ghost = configmap("ghost") | {"metadata": {"name": "ghost", "uid": "no-such-uid"}}
        await plane.client.create("configmaps", configmap("child", ghost))
        await plane.gone("configmaps", "child")

    control_plane(test)


@pytest.mark.parametrize("with_finalizer", [False, True])
def test_a_namespace_goes_with_all_its_content(control_plane, make, with_finalizer):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "extra"}}
        await plane.client.create("namespaces", namespace)
        held = ["example.com/hold"] if with_finalizer else []
        await plane.client.create(
            "configmaps", configmap("held", namespace="extra", finalizers=held)
        )
        deployment = make.deployment()
        deployment["metadata"]["namespace"] = "extra"
        await plane.client.create("deployments.apps", deployment)

        async def furnished():
            pods = await plane.items("pods", "extra")
            accounts = await plane.items("serviceaccounts", "extra")
            bundles = await plane.items("configmaps", "extra")
            return len(pods) == 3 and len(accounts) == 1 and len(bundles) == 2

        await plane.until(furnished)
        await plane.client.delete("namespaces", "extra")
        if with_finalizer:

            async def told():
                found = await plane.client.get("namespaces", "extra")
                condition = meta.condition(found, "NamespaceFinalizersRemaining") or {}
                return "example.com/hold in 1 resource" in condition.get("message", "")

            await plane.until(told)
            release = {"metadata": {"finalizers": None}}
            await plane.client.patch("configmaps", "held", release, "extra")
        await plane.gone("namespaces", "extra", "")
        assert await plane.items("configmaps", "extra") == []

    control_plane(test)


def test_every_namespace_gets_its_service_account_and_the_root_certificate(control_plane):
    async def test(plane):
        await plane.manager(root_ca="PEM")
        await plane.client.create(
            "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "extra"}}
        )

        async def furnished():
            bundles = await plane.items("configmaps", "extra")
            accounts = await plane.items("serviceaccounts", "extra")
            return [b["data"] for b in bundles] == [{"ca.crt": "PEM"}] and len(accounts) == 1

        await plane.until(furnished)
        await plane.client.delete("configmaps", "kube-root-ca.crt", "extra")
        await plane.client.delete("serviceaccounts", "default", "extra")
        await plane.until(furnished)

    control_plane(test)
