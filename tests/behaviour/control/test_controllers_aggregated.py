"""Namespaces and owners, where other API servers serve a part of what they are about."""

from __future__ import annotations

import sys
from pathlib import Path

from cluster.machinery import meta
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError

sys.path.insert(0, str(Path(__file__).parent))
from extension_servers import Extension

GROUP, VERSION = "wardle.example.com", "v1alpha1"
NAME = f"{VERSION}.{GROUP}"
FLUNDERS = Resource(GROUP, VERSION, "flunders", "Flunder", True, "flunder", (), (), (), ())


def extension(plane):
    client = plane.identity("flunders-client", ["system:masters"])
    return Extension(plane, "flunders", {GROUP: VERSION}, api=plane.url, client=client)


async def create_flunder(plane, name, namespace, **metadata):
    obj = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Flunder",
           "metadata": {"name": name, **metadata}}  # fmt: skip
    return await plane.client.create(FLUNDERS, obj, namespace)


async def create_namespace(plane, name):
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await plane.client.create("namespaces", obj)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    await plane.client.create("configmaps", config, name)


def test_a_namespace_ends_with_what_another_server_keeps_in_it(control_plane):
    async def test(plane):
        await plane.manager(controllers=["namespace"])
        async with extension(plane):
            await create_namespace(plane, "doomed")
            await create_flunder(plane, "a", "doomed")
            await create_flunder(plane, "b", "default")
            await plane.client.delete("namespaces", "doomed")
            await plane.gone("namespaces", "doomed", "")
            left = (await plane.client.list(FLUNDERS))["items"]
            assert [meta.key(o) for o in left] == ["default/b"]

    control_plane(test)


def test_a_namespace_waits_for_a_server_that_is_gone_and_says_so(control_plane):
    async def test(plane):
        await plane.manager(controllers=["namespace"])
        async with extension(plane) as other:
            await create_namespace(plane, "doomed")
            await create_flunder(plane, "a", "doomed")
            await other.stop()
            touch = {"metadata": {"annotations": {"example.com/touched": "1"}}}
            await plane.client.patch("services", "flunders", touch, "default")
            await other.until_available(NAME, wanted=False)
            await plane.client.delete("namespaces", "doomed")

            async def told():
                found = await plane.client.get("namespaces", "doomed")
                condition = meta.condition(found, "NamespaceDeletionDiscoveryFailure") or {}
                return condition if condition.get("status") == "True" else None

            condition = await plane.until(told)
            assert condition["reason"] == "DiscoveryFailed"
            stale = f"stale GroupVersion discovery: {GROUP}/{VERSION}"
            assert condition["message"].endswith(f"{GROUP}/{VERSION}: {stale}")
            await plane.gone("configmaps", "c", "doomed")  # what others serve does not wait
            await other.start()
            await plane.gone("namespaces", "doomed", "")

    control_plane(test)


def test_what_another_server_keeps_goes_with_its_owner(control_plane):
    async def test(plane):
        async with extension(plane):
            await plane.manager(controllers=["garbage-collector"])
            config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}
            owner = await plane.client.create("configmaps", config, "default")
            references = [meta.owner_reference({**owner, "apiVersion": "v1", "kind": "ConfigMap"})]
            await create_flunder(plane, "owned", "default", ownerReferences=references)
            await create_flunder(plane, "free", "default")
            await plane.client.delete("configmaps", "owner", "default")

            async def only_the_free_one():
                left = (await plane.client.list(FLUNDERS))["items"]
                return [meta.name(o) for o in left] == ["free"]

            await plane.until(only_the_free_one, 45)

    control_plane(test)


def test_an_owner_that_another_server_keeps_is_asked_for_there(control_plane):
    async def test(plane):
        async with extension(plane):
            await plane.manager(controllers=["garbage-collector"])
            owner = await create_flunder(plane, "owner", "default")
            references = [meta.owner_reference(owner)]
            metadata = {"name": "owned", "ownerReferences": references}
            config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            await plane.client.create("configmaps", config, "default")
            await plane.client.delete(FLUNDERS, "owner", "default")

            async def gone():
                try:
                    await plane.client.get("configmaps", "owned", "default")
                except ApiError as error:
                    return error.code == 404
                return False

            await plane.until(gone, 45)

    control_plane(test)


def test_a_quota_counts_what_another_server_keeps(control_plane):
    async def test(plane):
        async with extension(plane):
            await plane.manager(controllers=["resourcequota"])
            await create_flunder(plane, "a", "default")
            await create_flunder(plane, "b", "default")
            hard = {f"count/flunders.{GROUP}": "5", "count/things.example.com": "1"}
            quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
                     "spec": {"hard": hard}}  # fmt: skip
            await plane.client.create("resourcequotas", quota, "default")

            async def counted():
                found = await plane.client.get("resourcequotas", "q", "default")
                return (found.get("status") or {}).get("used") == {
                    f"count/flunders.{GROUP}": "2",
                    "count/things.example.com": "0",
                }

            await plane.until(counted)

    control_plane(test)
