"""Members are killed with SIGKILL under load: nothing acknowledged may be lost or repeated."""

from __future__ import annotations

import asyncio
import pathlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.seams import system_seams
from raftstore.client import StoreClient
from raftstore.errors import Unavailable, UnknownOutcome
from raftstore.faults.processes import StoreProcesses
from raftstore.types import Compare, Put, Range

WORKERS = 8
SETTLE_S = 0.7
STUCK_S = 25
UNDER_WAY_S = 0.1


class Load:
    """Workers that put numbered values and move a counter; remembers what was acknowledged."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self.acknowledged: dict[bytes, tuple[bytes, int]] = {}
        self.unknown: set[bytes] = set()
        self.increments = 0
        self.uncertain_increments = 0
        self.last_success_s = time.monotonic()
        self._stopping = False

    async def run(self) -> None:
        await asyncio.gather(*(self._put(n) for n in range(WORKERS)), self._count())

    def stop(self) -> None:
        self._stopping = True

    async def _put(self, worker: int) -> None:
        number = 0
        while not self._stopping:
            number += 1
            key, value = f"put/{worker}/{number:06d}".encode(), f"{number}".encode() * 50
            try:
                result = await self._client.put(key, value)
            except UnknownOutcome:
                self.unknown.add(key)
            except Unavailable:
                continue
            else:
                self.acknowledged[key] = (value, result.revision)
                self.last_success_s = time.monotonic()

    async def _count(self) -> None:
        """Increments by compare and swap: a write executed twice would show as a lost race."""
        while not self._stopping:
            try:
                found = (await self._client.range(b"counter")).kvs
                value = int(found[0].value) if found else 0
                mod = found[0].mod_revision if found else 0
                result = await self._client.txn(
                    [Compare(b"counter", "mod", "=", mod)],
                    [Put(b"counter", str(value + 1).encode())],
                    [Range(b"counter")],
                )
            except UnknownOutcome:
                self.uncertain_increments += 1
            except Unavailable:
                continue
            else:
                assert result.succeeded, "only this worker changes the counter"
                self.increments += 1

    async def recovery_s(self, since_s: float) -> float:
        """Time from `since_s` to a later acknowledged write; answers under way do not count."""
        while self.last_success_s <= since_s + UNDER_WAY_S:
            await asyncio.sleep(0.01)
        return self.last_success_s - since_s


class Observer:
    """A watch over everything: collects revisions as they come."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self.revisions: list[int] = []
        self.keys: dict[bytes, int] = {}
        self.progress = 0

    async def run(self) -> None:
        async for batch in self._client.watch(b"\0", b"\0", start_revision=2):
            self.progress = max(self.progress, batch.revision)
            if batch.events:
                self.revisions.append(batch.revision)
            for event in batch.events:
                self.keys[event.kv.key] = event.kv.mod_revision


Nemesis = Callable[[Any, StoreClient, Load], Awaitable[None]]


async def _scenario(folder: pathlib.Path, nemesis: Nemesis, **settings: Any) -> None:
    store = StoreProcesses(folder, **settings)
    store.start()
    client, watching = StoreClient(store.endpoints), StoreClient(store.endpoints)
    await client.start(system_seams())
    await watching.start(system_seams())
    load, observer = Load(client), Observer(watching)
    tasks = [asyncio.create_task(load.run()), asyncio.create_task(observer.run())]
    try:
        await _while_running(tasks, load.recovery_s(load.last_success_s))
        await asyncio.sleep(SETTLE_S)
        await _while_running(tasks, nemesis(store, client, load))
        await asyncio.sleep(SETTLE_S)
        load.stop()
        await tasks[0]
        await _verify(client, load, observer)
    finally:
        load.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.stop()
        await watching.stop()
        store.stop()


async def _while_running(tasks: list[asyncio.Task[None]], work: Awaitable[Any]) -> None:
    """Await `work`, but fail at once when the load or the watch fails."""
    working = asyncio.ensure_future(work)
    done, _ = await asyncio.wait(
        [working, *tasks], return_when=asyncio.FIRST_COMPLETED, timeout=STUCK_S
    )
    working.cancel()
    assert done, "the store does not recover"
    for task in done:
        task.result()


async def _verify(client: StoreClient, load: Load, observer: Observer) -> None:
    found = await client.range(b"\0", b"\0")
    stored = {kv.key: kv for kv in found.kvs}
    lost = [k for k, (v, _) in load.acknowledged.items() if k not in stored or stored[k].value != v]
    assert not lost, f"{len(lost)} acknowledged writes are gone: {lost[:5]}"
    moved = [k for k, (_, r) in load.acknowledged.items() if stored[k].mod_revision != r]
    assert not moved, f"written again, or at another revision than was told: {moved[:5]}"
    unexpected = {k for k in stored if k.startswith(b"put/")} - set(load.acknowledged)
    assert unexpected <= load.unknown
    value = int(stored[b"counter"].value)
    assert load.increments <= value <= load.increments + load.uncertain_increments
    async with asyncio.timeout(10):
        while not observer.revisions or observer.revisions[-1] < found.revision:
            await asyncio.sleep(0.02)
    assert observer.revisions == list(range(2, found.revision + 1)), "each revision once, in order"
    assert all(observer.keys[key] == kv.mod_revision for key, kv in stored.items())
    print(f"{len(load.acknowledged)} puts, {value} increments, revision {found.revision}")


async def _leader(client: StoreClient) -> str:
    while True:
        for status in await client.status():
            if status.healthy and status.name == status.leader:
                return status.name
        await asyncio.sleep(0.05)


async def _caught_up(client: StoreClient) -> None:
    """All members answer and have applied what was there at the start."""
    goal = (await client.range(b"counter")).revision
    while True:
        statuses = await client.status()
        if all(s.healthy and s.leader and s.revision >= goal for s in statuses):
            return
        await asyncio.sleep(0.05)


async def _kill_each_in_turn(store: Any, client: StoreClient, load: Load) -> None:
    leader = await _leader(client)
    for name in [leader, *(n for n in store.names if n != leader)]:
        led = name == await _leader(client)
        killed_s = time.monotonic()
        store.kill(name)
        recovery_s = await load.recovery_s(time.monotonic())
        print(f"{name}{' (leader)' if led else ''}: writes again {recovery_s:.2f} s after SIGKILL")
        assert time.monotonic() - killed_s < 5
        store.start(name)
        await _caught_up(client)
        await asyncio.sleep(0.3)


async def _kill_all_twice(store: Any, client: StoreClient, load: Load) -> None:
    for _ in range(2):
        store.kill()
        down_s = time.monotonic()
        await asyncio.sleep(0.2)
        store.start()
        recovery_s = await load.recovery_s(down_s)
        print(f"all members: writes again {recovery_s:.2f} s after SIGKILL of all")
        await asyncio.sleep(SETTLE_S)


async def _pause_the_leader(store: Any, client: StoreClient, load: Load) -> None:
    leader = await _leader(client)
    store.pause(leader)
    paused_s = time.monotonic()
    await asyncio.sleep(0.01)
    recovery_s = await load.recovery_s(time.monotonic())
    print(f"{leader} (leader) stopped: writes again after {recovery_s:.2f} s")
    assert time.monotonic() - paused_s < 8
    store.resume(leader)
    await _caught_up(client)


@pytest.mark.timeout(60)
def test_killing_each_member_in_turn_loses_no_acknowledged_write(tmp_path: pathlib.Path) -> None:
    asyncio.run(_scenario(tmp_path, _kill_each_in_turn))


@pytest.mark.timeout(60)
def test_killing_all_members_at_once_loses_no_acknowledged_write(tmp_path: pathlib.Path) -> None:
    asyncio.run(_scenario(tmp_path, _kill_all_twice))


@pytest.mark.timeout(60)
def test_kills_during_snapshots_and_log_compaction_lose_nothing(tmp_path: pathlib.Path) -> None:
    asyncio.run(_scenario(tmp_path, _kill_each_in_turn, snapshot_entries=200, keep_entries=20))


@pytest.mark.timeout(60)
def test_a_leader_that_stops_answering_is_replaced(tmp_path: pathlib.Path) -> None:
    asyncio.run(_scenario(tmp_path, _pause_the_leader))


@pytest.mark.timeout(60)
def test_a_single_member_recovers_what_it_acknowledged(tmp_path: pathlib.Path) -> None:
    asyncio.run(_scenario(tmp_path, _kill_all_twice, members=1))
