from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from raftstore.coordination import (
    Found,
    NotHeld,
    acquire,
    leader,
    observe,
    prefix_end,
    proclaim,
    release,
    resign,
)
from raftstore.testing import MemoryStore


async def _settle() -> None:
    """Let everything that can go on in this loop go on."""
    for _ in range(20):
        await asyncio.sleep(0)


def _value(found: Found) -> bytes:
    assert found.kv is not None
    return found.kv.value


async def _leases(store: MemoryStore, number: int) -> list[int]:
    return [(await store.lease_grant(60)).id for _ in range(number)]


def test_a_lock_is_held_by_one_and_passes_in_the_order_of_asking() -> None:
    async def main() -> None:
        store = MemoryStore()
        holders: list[int] = []
        tasks = {}
        for lease in (leases := await _leases(store, 4)):
            tasks[lease] = asyncio.create_task(acquire(store, b"lock", lease))
            tasks[lease].add_done_callback(lambda _, lease=lease: holders.append(lease))
            await _settle()
        for number, lease in enumerate(leases):
            assert holders == leases[: number + 1]
            await release(store, (await tasks[lease]).key)
            await _settle()

    asyncio.run(main())


def test_who_holds_the_lock_and_asks_again_has_it() -> None:
    async def main() -> None:
        store = MemoryStore()
        [lease] = await _leases(store, 1)
        assert await acquire(store, b"lock", lease) == await acquire(store, b"lock", lease)

    asyncio.run(main())


def test_a_lease_that_ends_passes_the_lock_on() -> None:
    async def main() -> None:
        store = MemoryStore()
        first, second = await _leases(store, 2)
        await acquire(store, b"lock", first)
        waiting = asyncio.create_task(acquire(store, b"lock", second))
        await _settle()
        assert not waiting.done()
        await store.lease_revoke(first)
        assert (await waiting).lease == second

    asyncio.run(main())


def test_a_contender_whose_lease_ends_while_it_waits_is_told() -> None:
    async def main() -> None:
        store = MemoryStore()
        first, second = await _leases(store, 2)
        held = await acquire(store, b"lock", first)
        waiting = asyncio.create_task(acquire(store, b"lock", second))
        await _settle()
        await store.lease_revoke(second)
        await release(store, held.key)
        with pytest.raises(NotHeld):
            await waiting

    asyncio.run(main())


def test_a_cancelled_contender_leaves_no_key_behind() -> None:
    async def main() -> None:
        store = MemoryStore()
        first, second = await _leases(store, 2)
        await acquire(store, b"lock", first)
        waiting = asyncio.create_task(acquire(store, b"lock", second))
        await _settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (await store.range(b"lock/", b"lock0")).count == 1

    asyncio.run(main())


def test_a_leader_proclaims_until_it_resigns() -> None:
    async def main() -> None:
        store = MemoryStore()
        first, second = await _leases(store, 2)
        claim = await acquire(store, b"election", first, b"one")
        await proclaim(store, claim, b"two")
        _, found = await leader(store, b"election")
        assert found is not None
        assert found.value == b"two"
        waiting = asyncio.create_task(acquire(store, b"election", second, b"three"))
        await _settle()
        await resign(store, claim)
        await waiting
        with pytest.raises(NotHeld):
            await proclaim(store, claim, b"late")

    asyncio.run(main())


def test_an_observer_sees_every_proclamation_in_order() -> None:
    async def main() -> None:
        store = MemoryStore()
        first, second = await _leases(store, 2)
        async with aclosing(observe(store, b"election")) as proclamations:
            coming = asyncio.ensure_future(anext(proclamations))
            await _settle()
            claim = await acquire(store, b"election", first, b"one")
            seen = [_value(await coming)]
            await proclaim(store, claim, b"two")
            seen.append(_value(await anext(proclamations)))
            coming = asyncio.ensure_future(anext(proclamations))
            await resign(store, claim)
            await acquire(store, b"election", second, b"three")
            seen.append(_value(await coming))
        assert seen == [b"one", b"two", b"three"]

    asyncio.run(main())


def test_the_end_of_a_prefix_follows_all_its_keys() -> None:
    assert prefix_end(b"a/") == b"a0"
    assert prefix_end(b"a\xff") == b"b"
    assert prefix_end(b"\xff") == b"\0"
