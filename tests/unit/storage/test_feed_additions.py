"""Caches that are added while the store is written to: they miss nothing and repeat nothing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from storage_helper import Storage, run

from cluster.machinery import resources, status
from cluster.storage.cache import ResourceCache
from cluster.storage.feed import Feed
from cluster.storage.stored_form import StoredForm
from cluster.storage.version_feed import VersionFeed
from raftstore.testing import MemoryStore
from raftstore.types import RangeResult

PREFIX = "/registry/example.com/things/"
CONFIG_MAPS = resources.find("configmaps")


def value(name: str, number: int) -> bytes:
    return b'{"kind":"Thing","apiVersion":"example.com/v1","metadata":{"name":"%b"},"n":%d}' % (
        name.encode(), number,
    )  # fmt: skip


class SlowStore(MemoryStore):
    """Its ranges are on their way for a while, as those of a store on a network."""

    async def range(self, *args: Any, **options: Any) -> RangeResult:
        found = await super().range(*args, **options)
        for _ in range(20):
            await asyncio.sleep(0)
        return found


class Recorder:
    """A follower that notes what it is given."""

    def __init__(self) -> None:
        self.state: dict[str, int] = {}
        self.revisions: list[int] = []

    def replace(self, stored: object, revision: int) -> None:
        self.state = {key: rev for key, _, rev in stored}  # type: ignore[attr-defined]
        self.revisions = [revision]

    def put(self, key: str, stored: bytes, revision: int) -> None:
        self.state[key] = revision
        self.revisions.append(revision)

    def delete(self, key: str, revision: int) -> None:
        self.state.pop(key, None)
        self.revisions.append(revision)

    def notify(self) -> None:
        """Nothing to tell."""


async def stored(storage: Storage, revision: int) -> dict[str, int]:
    end = PREFIX[:-1].encode() + b"0"
    found = await storage.store.range(PREFIX.encode(), end, revision=revision)
    return {kv.key.decode(): kv.mod_revision for kv in found.kvs}


def test_a_cache_that_is_added_under_writes_ends_as_the_store_is() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def body(storage: Storage) -> None:
        async def write() -> None:
            for number in range(300):
                key = f"{PREFIX}default/{chance.randrange(20)}".encode()
                if chance.random() < 0.3:
                    await storage.store.delete(key)
                else:
                    await storage.store.put(key, value("x", number))
                if chance.random() < 0.3:
                    await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        for _ in range(10):
            recorder = Recorder()
            await storage.feed.add(PREFIX, recorder)
            await asyncio.sleep(chance.random() * 0.002)
            await storage.feed.fresh()
            seen, revision = dict(recorder.state), storage.feed.revision
            assert recorder.revisions == sorted(set(recorder.revisions))
            assert seen == await stored(storage, revision)
            if writing.done():
                break
            storage.feed.remove(PREFIX)
        await writing
        recorder = Recorder()
        await storage.feed.add(PREFIX, recorder)
        await storage.feed.fresh()
        assert recorder.state == await stored(storage, 0)

    run(body, store=SlowStore())


class SlowForm(StoredForm):
    """Needs a call for every object; fails while it is `down`."""

    def __init__(self) -> None:
        self.down = False
        self.calls = 0

    def load_now(self, stored: bytes) -> bytes | None:
        return None

    async def load(self, stored: object) -> list[bytes]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.down:
            raise status.failure(500, "InternalError", "the webhook is down")
        return [each.replace(b"/v1", b"/v2") for each in stored]  # type: ignore[attr-defined]


def test_a_version_behind_a_webhook_keeps_order_and_its_readers_wait() -> None:
    async def body(storage: Storage) -> None:
        form = SlowForm()
        cache = ResourceCache(CONFIG_MAPS, lambda obj: {})
        feed: Feed = storage.feed
        seams = storage.env.seams
        version = VersionFeed(feed, cache, form, seams, lambda: feed.read(PREFIX))
        key = f"{PREFIX}default/a"
        await storage.store.put(key.encode(), value("a", 0))
        await feed.add(PREFIX, version)
        await version.fresh()
        entry = cache.get(key)
        assert entry is not None
        assert b"example.com/v2" in entry.data
        for number in range(1, 50):
            await storage.store.put(key.encode(), value("a", number))
        await storage.store.delete(key.encode())
        await storage.store.put(key.encode(), value("a", 99))
        await version.fresh()
        entry = cache.get(key)
        assert entry is not None
        assert entry.decode()["n"] == 99
        form.down = True
        await storage.store.put(key.encode(), value("a", 100))
        await feed.fresh()
        with pytest.raises(status.ApiError, match="the webhook is down"):
            await version.fresh()
        assert version.revision < feed.revision
        form.down = False
        while version.revision < feed.revision:
            await asyncio.sleep(0.01)
        entry = cache.get(key)
        assert entry is not None
        assert entry.decode()["n"] == 100
        await version.stop()

    run(body)
