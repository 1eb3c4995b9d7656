"""Writes that name a leader's term: stored while it goes on, refused once it is over."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from storage_helper import Storage, config_map, run

from cluster.machinery.fencing import Fence
from cluster.machinery.status import ApiError
from cluster.storage.options import DeleteOptions
from cluster.storage.registry import Registry
from cluster.storage.strategies.leases import FENCES


def lease(holder: str, transitions: int | None) -> dict[str, Any]:
    spec: dict[str, Any] = {"holderIdentity": holder, "leaseDurationSeconds": 15}
    if transitions is not None:
        spec["leaseTransitions"] = transitions
    metadata = {"name": "manager", "namespace": "default"}
    return {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec
    }  # fmt: skip


async def hold(storage: Storage, holder: str, **more: Any) -> Fence | None:
    """Write who holds the lease; the fence of the term that goes on then."""

    async def change(old: dict[str, Any]) -> dict[str, Any]:
        old["spec"] |= {"holderIdentity": holder, **more}
        return old

    written = await storage.registry("leases").update("default", "manager", change)
    return Fence.of(written.obj)


async def leading(storage: Storage) -> tuple[Fence, Registry]:
    """A leader's term, and config maps as the leader writes them."""
    first = await storage.registry("leases").create(lease("one_é/1", 0))
    fence = Fence.of(first.obj)
    assert fence is not None
    assert Fence.parse(str(fence)) == fence
    return fence, storage.registry("configmaps").fenced(fence)


async def _touch(old: dict[str, Any]) -> dict[str, Any]:
    old.setdefault("data", {})["touched"] = "yes"
    return old


def test_a_leader_writes_while_its_term_goes_on_however_often_it_renews() -> None:
    async def body(storage: Storage) -> None:
        fence, maps = await leading(storage)
        await maps.create(config_map("a"))
        renewed = await hold(storage, fence.holder, renewTime="2026-01-01T00:00:00.000000Z")
        assert renewed == fence
        await maps.update("default", "a", _touch)
        await maps.delete("default", "a", DeleteOptions())

    run(body)


@pytest.mark.parametrize("end", ["another holds it", "released", "deleted", "the same anew"])
def test_every_write_of_a_term_that_is_over_is_refused_and_changes_nothing(end: str) -> None:
    async def body(storage: Storage) -> None:
        fence, maps = await leading(storage)
        await maps.create(config_map("a"))
        if end == "deleted":
            await storage.registry("leases").delete("default", "manager", DeleteOptions())
        else:
            holder = {"another holds it": "two", "released": "", "the same anew": fence.holder}
            await hold(storage, holder[end], leaseTransitions=1)
        before = (await storage.store.range(b"/registry/configmaps/", b"/registry/configmapt")).kvs
        for write in (
            maps.create(config_map("b")),
            maps.update("default", "a", _touch),
            maps.delete("default", "a", DeleteOptions()),
        ):
            with pytest.raises(ApiError, match="does not hold the lease") as error:
                await write
            assert error.value.reason == "Conflict"
        after = (await storage.store.range(b"/registry/configmaps/", b"/registry/configmapt")).kvs
        assert before == after

    run(body)


def test_a_write_that_was_under_way_when_the_term_ended_is_refused() -> None:
    async def body(storage: Storage) -> None:
        _, maps = await leading(storage)
        await maps.create(config_map("a"))

        async def meanwhile(old: dict[str, Any]) -> dict[str, Any]:
            await hold(storage, "two", leaseTransitions=1)
            return await _touch(old)

        with pytest.raises(ApiError, match="does not hold the lease"):
            await maps.update("default", "a", meanwhile)

    run(body)


def test_a_conflict_of_a_leader_is_still_tried_again_on_the_newer_version() -> None:
    async def body(storage: Storage) -> None:
        _, maps = await leading(storage)
        await maps.create(config_map("a"))
        others = storage.registry("configmaps")
        rounds = 0

        async def disturbed(old: dict[str, Any]) -> dict[str, Any]:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                await others.update("default", "a", _touch)
            new = copy.deepcopy(old)
            new.setdefault("data", {})["leader"] = "yes"
            return new

        written = await maps.update("default", "a", disturbed)
        assert written.obj["data"] == {"touched": "yes", "leader": "yes"}
        with pytest.raises(ApiError) as error:
            await maps.create(config_map("a"))
        assert error.value.reason == "AlreadyExists"

    run(body)


def test_leases_that_count_no_terms_claim_nothing_and_others_one_key() -> None:
    async def body(storage: Storage) -> None:
        leases = storage.registry("leases")
        await leases.create(lease("node", None))
        end = (FENCES[:-1] + "0").encode()
        assert (await storage.store.range(FENCES.encode(), end)).kvs == []
        for number, holder in enumerate(["one", "two", "one"]):
            await hold(storage, holder, leaseTransitions=number)
        found = (await storage.store.range(FENCES.encode(), end)).kvs
        assert [kv.key.decode() for kv in found] == [f"{FENCES}default/manager/2/one"]
        await leases.delete("default", "manager", DeleteOptions())
        assert (await storage.store.range(FENCES.encode(), end)).kvs == []

    run(body)
