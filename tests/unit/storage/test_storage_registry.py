"""Writes: one transaction each, checked, counted, and never lost between several writers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from storage_helper import Storage, config_map, obj, pod, run, running, service

from cluster.machinery.status import ApiError
from cluster.storage.options import DeleteOptions, Preconditions
from raftstore.testing import MemoryStore


def refused(error: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return error.value.code, error.value.reason


def test_concurrent_changes_all_take_effect() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("configmaps")
        await registry.create(config_map("shared"))

        async def add(key: str) -> None:
            async def change(old: dict[str, Any]) -> dict[str, Any]:
                await asyncio.sleep(0)
                old.setdefault("data", {})[key] = "1"
                return old

            await registry.update("default", "shared", change)

        await asyncio.gather(*(add(f"k{n}") for n in range(20)))
        written = await registry.update("default", "shared", _same)
        assert len(written.obj["data"]) == 20

    run(body)


async def _same(old: dict[str, Any]) -> dict[str, Any]:
    return old


def test_a_change_that_fails_on_a_stale_guess_is_tried_on_the_newest() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("configmaps")
        await registry.create(config_map("x", step="1"))
        await storage.feed.fresh()

        async def second(old: dict[str, Any]) -> dict[str, Any]:
            old["data"]["step"] = "2"
            return old

        await registry.update("default", "x", second)  # the cache has not seen this one yet
        seen = []

        async def needs_two(old: dict[str, Any]) -> dict[str, Any]:
            seen.append(old["data"]["step"])
            if old["data"]["step"] != "2":
                raise ApiError({"code": 409, "reason": "Conflict"})
            return old

        await registry.update("default", "x", needs_two)
        assert seen[-1] == "2"

    run(body)


def test_the_namespace_must_exist_and_not_be_terminating() -> None:
    async def body(storage: Storage) -> None:
        maps, namespaces = storage.registry("configmaps"), storage.registry("namespaces")
        with pytest.raises(ApiError) as error:
            await maps.create(obj("v1", "ConfigMap", "x", "nowhere"))
        assert refused(error) == (404, "NotFound")
        await storage.namespace("ending")
        await storage.feed.fresh()
        await namespaces.delete("", "ending", DeleteOptions())  # unseen by the cache: no waiting
        with pytest.raises(ApiError) as error:
            await maps.create(obj("v1", "ConfigMap", "x", "ending"))
        assert refused(error) == (403, "Forbidden")
        assert error.value.status["details"]["causes"][0]["reason"] == "NamespaceTerminating"

    run(body)


def test_generation_counts_changes_of_spec_only() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("pods")
        written = await registry.create(pod("p") | {"status": {"phase": "Running"}})
        assert written.obj["metadata"]["generation"] == 1
        assert written.obj["status"] == {"phase": "Pending", "qosClass": "BestEffort"}

        async def relabel(old: dict[str, Any]) -> dict[str, Any]:
            old["metadata"]["labels"] = {"a": "b"}
            old["metadata"]["generation"] = 99
            return old

        written = await registry.update("default", "p", relabel)
        assert written.obj["metadata"]["generation"] == 1

        async def change_image(old: dict[str, Any]) -> dict[str, Any]:
            old["spec"]["containers"][0]["image"] = "other"
            return old

        written = await registry.update("default", "p", change_image)
        assert written.obj["metadata"]["generation"] == 2

    run(body)


def test_a_scheduled_pod_gets_its_grace_and_an_unscheduled_one_goes_at_once() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("pods")
        await registry.create(pod("free"))
        assert (await registry.delete("default", "free", DeleteOptions())).removed
        await registry.create(pod("bound", nodeName="n1"))
        first = await registry.delete("default", "bound", DeleteOptions())
        assert not first.removed
        assert first.obj["metadata"]["deletionGracePeriodSeconds"] == 30
        again = await registry.delete("default", "bound", DeleteOptions(grace_s=60))
        assert again.data == first.data
        shorter = await registry.delete("default", "bound", DeleteOptions(grace_s=5))
        assert shorter.obj["metadata"]["deletionGracePeriodSeconds"] == 5
        assert (await registry.delete("default", "bound", DeleteOptions(grace_s=0))).removed

    run(body)


def test_dry_runs_check_everything_and_write_nothing() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("services")
        before = (await storage.store.range(b"\0")).revision
        await registry.create(service("s"), dry_run=True)
        assert (await storage.store.range(b"\0")).revision == before
        await registry.create(service("s"))
        with pytest.raises(ApiError) as error:
            await registry.create(service("s"), dry_run=True)
        assert refused(error) == (409, "AlreadyExists")
        written = await registry.delete("default", "s", DeleteOptions(dry_run=True))
        assert written.removed
        assert await registry.get("default", "s")

    run(body)


def test_two_servers_never_give_out_one_address_twice() -> None:
    async def main() -> None:
        store = MemoryStore()
        # a /28 has 13 addresses to give; equal seeds make both servers propose the same ones
        async with (
            running(store, seed=7, cidr="10.0.0.0/28") as one,
            running(store, seed=7, cidr="10.0.0.0/28") as two,
        ):
            await one.namespace("default")
            made = await asyncio.gather(
                *(s.registry("services").create(service(f"{i}-{n}"))
                  for n in range(6) for i, s in (("a", one), ("b", two)))
            )  # fmt: skip
            addresses = [w.obj["spec"]["clusterIP"] for w in made]
            assert len(set(addresses)) == 12
            await one.registry("services").create(service("last"))
            with pytest.raises(ApiError) as error:
                await two.registry("services").create(service("none-left"))
            assert "full" in error.value.message
            await two.registry("services").delete("default", "a-0", DeleteOptions())
            await one.registry("services").create(service("fits-again"))

    asyncio.run(main())


def test_a_service_keeps_its_address_over_an_update_that_leaves_it_out() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("services")
        made = await registry.create(service("s", type="NodePort"))

        async def replace(old: dict[str, Any]) -> dict[str, Any]:
            return service("s", type="NodePort", selector={"a": "b"})

        written = await registry.update("default", "s", replace)
        assert written.obj["spec"]["clusterIP"] == made.obj["spec"]["clusterIP"]
        assert written.obj["spec"]["ports"] == made.obj["spec"]["ports"]
        port = made.obj["spec"]["ports"][0]["nodePort"]

        async def to_plain(old: dict[str, Any]) -> dict[str, Any]:
            old["spec"]["type"] = "ClusterIP"
            return old

        written = await registry.update("default", "s", to_plain)
        assert "nodePort" not in written.obj["spec"]["ports"][0]
        wanted = service("t", type="NodePort", ports=[{"port": 80, "nodePort": port}])
        await registry.create(wanted)

    run(body)


def test_events_are_stored_under_a_lease_that_they_share() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("events")
        for name in ("one", "two"):
            await registry.create(
                obj("v1", "Event", name, involvedObject={"kind": "Pod", "namespace": "default"})
            )
        kvs = (await storage.store.range(b"/registry/events/", b"/registry/events0")).kvs
        assert kvs[0].lease == kvs[1].lease != 0
        await storage.store.lease_revoke(kvs[0].lease)
        with pytest.raises(ApiError) as error:
            await registry.get("default", "one")
        assert refused(error) == (404, "NotFound")

    run(body)


def test_preconditions_are_checked_before_deleting() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("configmaps")
        made = await registry.create(config_map("x"))
        for wrong in (Preconditions(uid="u"), Preconditions(resource_version="1")):
            with pytest.raises(ApiError) as error:
                await registry.delete("default", "x", DeleteOptions(preconditions=wrong))
            assert refused(error) == (409, "Conflict")
        metadata = made.obj["metadata"]
        right = Preconditions(metadata["uid"], metadata["resourceVersion"])
        assert (await registry.delete("default", "x", DeleteOptions(preconditions=right))).removed

    run(body)


def test_removing_the_last_finalizer_of_a_deleted_object_removes_it() -> None:
    async def body(storage: Storage) -> None:
        registry = storage.registry("configmaps")
        held = config_map("held")
        held["metadata"]["finalizers"] = ["a.example/x", "a.example/y"]
        await registry.create(held)
        assert not (await registry.delete("default", "held", DeleteOptions())).removed

        async def drop_one(old: dict[str, Any]) -> dict[str, Any]:
            old["metadata"]["finalizers"].pop()
            return old

        assert not (await registry.update("default", "held", drop_one)).removed
        assert (await registry.update("default", "held", drop_one)).removed
        with pytest.raises(ApiError) as error:
            await registry.get("default", "held")
        assert refused(error) == (404, "NotFound")

    run(body)
