"""The watch cache: order, windows, selections, consistency, and slow watchers."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from storage_helper import Storage, config_map, run, running

from cluster.machinery import resources, selectors
from cluster.machinery.status import ApiError
from cluster.storage import encoding
from cluster.storage.cache import ResourceCache
from cluster.storage.listing import ListOptions
from cluster.storage.options import DeleteOptions
from cluster.storage.selection import Selection
from cluster.storage.watcher import MAX_BATCH, Batch
from raftstore.errors import Unavailable
from raftstore.testing import MemoryStore

PREFIX = "/registry/configmaps/"
MAPS = resources.find("configmaps")


def stored(name: str, **labels: str) -> bytes:
    metadata = {"name": name, "namespace": "d", "labels": labels}
    return encoding.encode({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata})


class Client:
    """A watcher that notes what it is given."""

    def __init__(self, cache: ResourceCache, selection: Selection, revision: int) -> None:
        self.seen: list[tuple[str, str, int]] = []
        self.batches: list[Batch] = []
        self.error: ApiError | None = None
        self.reads = True
        self.watcher = cache.watch(selection, revision, self._take, self._end, lambda: self.reads)
        self.watcher.resume()

    def _take(self, batch: Batch) -> None:
        self.batches.append(batch)
        found = batch.selected
        self.seen += [(type_, c.key.rpartition("/")[2], c.revision) for type_, c in found]

    def _end(self, error: ApiError) -> None:
        self.error = error


def filled(window: int = 4096) -> ResourceCache:
    cache = ResourceCache(MAPS, lambda obj: {}, window)
    cache.replace([(PREFIX + "d/a", stored("a", t="1"), 5)], 5)
    return cache


def write(cache: ResourceCache, name: str, revision: int, **labels: str) -> None:
    cache.put(f"{PREFIX}d/{name}", stored(name, **labels), revision)
    cache.notify()


def test_a_watch_starts_right_after_its_revision() -> None:
    cache = filled()
    for revision in range(6, 10):
        write(cache, "a", revision)
    assert Client(cache, Selection(PREFIX), 7).seen == [("MODIFIED", "a", 8), ("MODIFIED", "a", 9)]
    assert Client(cache, Selection(PREFIX), 20).seen == []


def test_a_selection_turns_entering_and_leaving_into_added_and_deleted() -> None:
    cache = filled()
    client = Client(cache, Selection(PREFIX, labels=selectors.parse_labels("t=1")), 5)
    write(cache, "a", 6, t="2")
    write(cache, "a", 7, t="3")
    write(cache, "a", 8, t="1")
    write(cache, "a", 9, t="1", u="2")
    cache.delete(PREFIX + "d/a", 10)
    cache.notify()
    assert [(kind, revision) for kind, _, revision in client.seen] == [
        ("DELETED", 6),
        ("ADDED", 8),
        ("MODIFIED", 9),
        ("DELETED", 10),
    ]


def test_a_deletion_shows_the_last_state_under_its_own_version() -> None:
    cache = filled()
    shown = []
    watcher = cache.watch(
        Selection(PREFIX), 5, lambda b: shown.extend(b.selected), lambda e: None, lambda: True
    )
    cache.delete(PREFIX + "d/a", 6)
    watcher.resume()
    [(type_, change)] = shown
    obj = encoding.decode(change.subject(type_))
    assert (obj["metadata"]["name"], obj["metadata"]["resourceVersion"]) == ("a", "6")


def test_a_watch_from_before_the_window_is_refused() -> None:
    cache = filled(window=3)
    for revision in range(6, 12):
        write(cache, "a", revision)
    assert cache.floor == 8
    with pytest.raises(ApiError) as error:
        cache.watch(Selection(PREFIX), 7, lambda s: None, lambda e: None, lambda: True)
    assert (error.value.code, error.value.reason) == (410, "Expired")
    assert len(Client(cache, Selection(PREFIX), 8).seen) == 3


def test_a_slow_watcher_is_cut_off_and_the_others_go_on() -> None:
    cache = filled(window=3)
    slow, quick = Client(cache, Selection(PREFIX), 5), Client(cache, Selection(PREFIX), 5)
    slow.reads = False
    for revision in range(6, 12):
        write(cache, "a", revision)
    assert len(quick.seen) == 6
    assert slow.seen == []
    assert slow.error is not None
    assert slow.error.code == 410
    assert cache.watchers == 1


def test_a_watcher_that_pauses_within_the_window_misses_nothing() -> None:
    cache = filled()
    client = Client(cache, Selection(PREFIX), 5)
    client.reads = False
    for revision in range(6, 100):
        write(cache, "a", revision)
    client.reads = True
    client.watcher.resume()
    assert [revision for _, _, revision in client.seen] == list(range(6, 100))


def test_equal_forms_share_one_frame() -> None:
    cache = filled()
    write(cache, "a", 6)
    [change] = cache.changes_from(0, 10)
    made = []

    def make(type_: str, data: bytes) -> bytes:
        made.append(type_)
        return data

    assert change.frame("json", "MODIFIED", make) is change.frame("json", "MODIFIED", make)
    change.frame("table", "MODIFIED", make)
    assert len(made) == 2


def test_watchers_that_select_the_same_share_what_is_chosen_and_framed() -> None:
    cache = filled()
    tagged = [Client(cache, Selection(PREFIX, selectors.parse_labels("t=1")), 5) for _ in range(2)]
    other = Client(cache, Selection(PREFIX), 5)
    write(cache, "a", 6, t="1")
    write(cache, "b", 7)
    assert tagged[0].batches[0] is tagged[1].batches[0]
    assert tagged[0].batches[0] is not other.batches[0]
    frame = tagged[0].batches[0].joined("json", lambda type_, data: data)
    assert frame is tagged[1].batches[0].joined("json", lambda type_, data: data)
    assert [seen[1] for seen in tagged[0].seen] == ["a"]
    assert [seen[1] for seen in other.seen] == ["a", "b"]


def test_who_lags_is_given_what_is_missing_in_pieces_of_bounded_size() -> None:
    cache = filled()
    client = Client(cache, Selection(PREFIX), 5)
    client.reads = False
    for revision in range(6, 6 + 3 * MAX_BATCH):
        write(cache, "a", revision)
    client.reads = True
    client.watcher.resume()
    assert [len(batch.selected) for batch in client.batches] == [MAX_BATCH] * 3
    assert [revision for *_, revision in client.seen] == list(range(6, 6 + 3 * MAX_BATCH))


def test_a_watch_from_a_revision_to_come_shows_only_what_is_later() -> None:
    cache = filled()
    client = Client(cache, Selection(PREFIX), 7)
    for revision in range(6, 10):
        write(cache, "a", revision)
    assert [revision for *_, revision in client.seen] == [8, 9]


def test_a_replaced_cache_ends_its_watches() -> None:
    cache = filled()
    client = Client(cache, Selection(PREFIX), 5)
    cache.replace([], 50)
    assert client.error is not None
    assert client.error.code == 410


def test_a_consistent_list_shows_every_write_made_before_it() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with running(store) as writer, running(store) as reader:
            await writer.namespace("default")
            for number in range(30):
                await writer.registry("configmaps").create(config_map(f"m{number}"))
                page = await reader.lister("configmaps").list(ListOptions(Selection(PREFIX)))
                assert len(page.entries) == number + 1

    asyncio.run(main())


def test_pages_together_are_the_whole_list_at_one_revision_whatever_happens_between() -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)

    async def body(storage: Storage) -> None:
        registry, lister = storage.registry("configmaps"), storage.lister("configmaps")
        for number in range(40):
            await registry.create(config_map(f"m{number:02}"))
        whole = await lister.list(ListOptions(Selection(PREFIX)))
        token, names = "", []
        while True:
            page = await lister.list(
                ListOptions(Selection(PREFIX), limit=chance.randint(1, 9), continue_=token)
            )
            names += [(e.key, e.revision) for e in page.entries]
            assert page.revision == whole.revision
            if not page.continue_:
                break
            assert page.remaining == 40 - len(names)
            token = page.continue_
            victim = f"m{chance.randrange(40):02}"
            try:
                await registry.delete("default", victim, DeleteOptions())
            except ApiError:
                await registry.create(config_map(victim))
        assert names == [(e.key, e.revision) for e in whole.entries]

    run(body)


def test_selectors_page_through_the_store_too() -> None:
    async def body(storage: Storage) -> None:
        registry, lister = storage.registry("configmaps"), storage.lister("configmaps")
        for number in range(20):
            labelled = config_map(f"m{number:02}")
            labelled["metadata"]["labels"] = {"even": str(number % 2 == 0)}
            await registry.create(labelled)
        selection = Selection(PREFIX, labels=selectors.parse_labels("even=True"))
        first = await lister.list(ListOptions(selection, limit=4))
        await registry.delete("default", "m08", DeleteOptions())
        rest = await lister.list(ListOptions(selection, limit=50, continue_=first.continue_))
        names = [e.key[-3:] for e in [*first.entries, *rest.entries]]
        assert names == [f"m{n:02}" for n in range(0, 20, 2)]
        assert first.remaining is None

    run(body)


def test_several_readers_share_one_question_to_the_store() -> None:
    class Counting(MemoryStore):
        asked = 0

        async def range(self, key: bytes, *args: Any, **more: Any) -> Any:
            if more.get("count_only"):
                self.asked += 1
                await asyncio.sleep(0.01)
            return await super().range(key, *args, **more)

    async def main() -> None:
        store = Counting()
        async with running(store) as storage:
            store.asked = 0
            await asyncio.gather(*(storage.feed.fresh() for _ in range(100)))
            assert store.asked <= 2  # the one in flight is too old for those that came after

    asyncio.run(main())


def test_the_feed_loads_again_when_its_place_was_compacted() -> None:
    class Forgetful(MemoryStore):
        """Loses the watch once, while much is written and compacted."""

        broken = False

        async def watch(self, *args: Any, **more: Any) -> Any:
            if not self.broken:
                self.broken = True
                for number in range(5):
                    await self.put(b"/registry/configmaps/d/x", stored(f"x{number}"))
                await self.compact((await self.range(b"\0")).revision)
            async for batch in super().watch(*args, **more):
                yield batch

    async def main() -> None:
        store = Forgetful()
        await store.put(b"/registry/configmaps/d/x", stored("x"))
        async with running(store) as storage:
            await storage.feed.fresh()
            entry = storage.caches[PREFIX].get(PREFIX + "d/x")
            assert entry is not None
            assert entry.decode()["metadata"]["name"] == "x4"

    asyncio.run(main())


def test_reads_fail_while_the_store_is_away_and_cached_ones_do_not() -> None:
    class Leaving(MemoryStore):
        away = False

        async def range(self, *args: Any, **more: Any) -> Any:
            if self.away:
                raise Unavailable("no leader")
            return await super().range(*args, **more)

    async def body(storage: Storage) -> None:
        await storage.registry("configmaps").create(config_map("x"))
        await storage.feed.fresh()
        storage.store.away = True
        with pytest.raises(Unavailable):
            await storage.lister("configmaps").list(ListOptions(Selection(PREFIX)))
        page = await storage.lister("configmaps").list(ListOptions(Selection(PREFIX), "0"))
        assert len(page.entries) == 1
        storage.store.away = False
        assert (await storage.lister("configmaps").list(ListOptions(Selection(PREFIX)))).entries

    run(body, store=Leaving())
