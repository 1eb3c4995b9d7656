"""Locks and elections over any `Store`, with the key layout of etcd's concurrency package.

A contender puts the key `name/lease` under its lease. Who created its key first holds the lock or
leads; everybody else waits for the key created just before its own to go away, so that a release
wakes one contender. A lease that ends gives everything up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from raftstore.errors import StoreError
from raftstore.types import Compare, Delete, KeyValue, Put, Range, RangeResult, Store


class NotHeld(StoreError):
    """The lock or the leadership was lost: its key is gone, or another's."""


class NoLeader(StoreError):
    """Nobody has won the election."""


class Found(NamedTuple):
    """`kv`: the key of who leads, with what it proclaims; None: nobody."""

    revision: int
    kv: KeyValue | None


class Claim(NamedTuple):
    """`revision` is that of the key's creation: compare it to be sure that the claim stands."""

    key: bytes
    revision: int
    lease: int

    @property
    def stands(self) -> Compare:
        return Compare(self.key, "create", "=", self.revision)


async def acquire(store: Store, name: bytes, lease: int, value: bytes = b"") -> Claim:
    """Wait until this lease's claim is the oldest. Raises LeaseNotFound, NotHeld.

    Cancelled, it withdraws the claim.
    """
    claim = await _claim(store, name, lease, value)
    try:
        await _wait_until_oldest(store, name, claim)
        held = await store.txn([claim.stands], [Range(claim.key)])
        if not held.succeeded:
            raise NotHeld("the lease ended while waiting")
    except BaseException:
        await store.txn([claim.stands], [Delete(claim.key)])
        raise
    return claim


async def _claim(store: Store, name: bytes, lease: int, value: bytes) -> Claim:
    """Put the key of this lease, or find it there from before."""
    key = b"%s/%x" % (name, lease)
    new = Compare(key, "create", "=", 0)
    result = await store.txn([new], [Put(key, value, lease)], [Range(key)])
    if result.succeeded:
        return Claim(key, result.revision, lease)
    [there] = result.responses
    assert isinstance(there, RangeResult)
    found = there.kvs[0]
    claim = Claim(key, found.create_revision, lease)
    if found.value != value:
        await proclaim(store, claim, value)
    return claim


async def _wait_until_oldest(store: Store, name: bytes, claim: Claim) -> None:
    while True:
        before = await _newest_before(store, name, claim.revision)
        if before is None:
            return
        await _wait_deleted(store, before.key, before.mod_revision)


async def _newest_before(store: Store, name: bytes, revision: int) -> KeyValue | None:
    prefix = name + b"/"
    result = await store.execute(
        Range(
            prefix,
            prefix_end(prefix),
            limit=1,
            sort_target="create",
            sort_order="descend",
            max_create_revision=revision - 1,
        )
    )
    found: Sequence[KeyValue] = result.kvs
    return found[0] if found else None


async def _wait_deleted(store: Store, key: bytes, revision: int) -> None:
    async with aclosing(store.watch(key, start_revision=revision + 1)) as batches:
        async for batch in batches:
            if any(event.type == "delete" for event in batch.events):
                return


async def release(store: Store, key: bytes) -> int:
    """Give the lock up; whether it was held makes no difference. The store's revision."""
    result = await store.delete(key)
    revision: int = result.revision
    return revision


async def proclaim(store: Store, claim: Claim, value: bytes) -> int:
    """Change the leader's value. Raises NotHeld."""
    result = await store.txn([claim.stands], [Put(claim.key, value, claim.lease)])
    if not result.succeeded:
        raise NotHeld("this is not the leader (any more)")
    revision: int = result.revision
    return revision


async def resign(store: Store, claim: Claim) -> int:
    """End a leadership, if it still stands. The store's revision."""
    result = await store.txn([claim.stands], [Delete(claim.key)])
    revision: int = result.revision
    return revision


async def leader(store: Store, name: bytes) -> Found:
    """Who leads now."""
    prefix = name + b"/"
    result = await store.execute(
        Range(
            prefix,
            prefix_end(prefix),
            limit=1,
            sort_target="create",
            sort_order="ascend",
        )
    )
    return Found(result.revision, result.kvs[0] if result.kvs else None)


async def observe(store: Store, name: bytes) -> AsyncGenerator[Found, None]:
    """Each leader and what it proclaims, from now on."""
    prefix = name + b"/"
    while True:
        found = await leader(store, name)
        if found.kv is None:
            await _wait_put(store, prefix, found.revision)
            continue
        yield found
        async for update in _until_deleted(store, found.kv.key, found.revision):
            yield update


async def _wait_put(store: Store, prefix: bytes, revision: int) -> None:
    watch = store.watch(prefix, prefix_end(prefix), start_revision=revision + 1, filters=["delete"])
    async with aclosing(watch) as batches:
        async for batch in batches:
            if batch.events:
                return


async def _until_deleted(store: Store, key: bytes, revision: int) -> AsyncGenerator[Found, None]:
    async with aclosing(store.watch(key, start_revision=revision + 1)) as batches:
        async for batch in batches:
            for event in batch.events:
                if event.type == "delete":
                    return
                yield Found(batch.revision, event.kv)


def prefix_end(prefix: bytes) -> bytes:
    """The `range_end` of all keys that begin with `prefix`."""
    for position in reversed(range(len(prefix))):
        if prefix[position] < 0xFF:
            return prefix[:position] + bytes([prefix[position] + 1])
    return b"\0"
