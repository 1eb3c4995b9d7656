"""Watchers are told at once while little happens, in rounds with rests between under load."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from actors.seams import system_seams
from cluster.storage.feed import Feed, rest_s
from raftstore.testing import MemoryStore

PREFIX = "/registry/configmaps/"


class Clock:
    """Time that goes on only while a round is told."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.time_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        self.timers.append((self.time_s + delay_s, callback))
        return self


class Slow:
    """Its watchers take a second to be told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.untold = 0
        self.told: list[int] = []

    def replace(self, stored: object, revision: int) -> None:
        """Empty at first."""

    def put(self, key: str, stored: bytes, revision: int) -> None:
        self.untold += 1

    def delete(self, key: str, revision: int) -> None:
        """Nothing is deleted here."""

    def notify(self) -> None:
        self.told.append(self.untold)
        self.untold = 0
        self.clock.time_s += 1


def test_what_happens_during_a_round_and_the_rest_after_it_is_told_in_one_piece() -> None:
    async def main() -> None:
        clock, store = Clock(), MemoryStore()
        slow = Slow(clock)
        seams = dataclasses.replace(system_seams(), clock=clock)
        feed = Feed(store, seams, {PREFIX: slow})
        feed.start()
        await feed.ready.wait()

        async def write(number: int) -> None:
            revision = 0
            for _ in range(number):
                revision = (await store.put(f"{PREFIX}d/a".encode(), b"x")).revision
            while feed.revision < revision:
                await asyncio.sleep(0)

        await write(1)
        assert slow.told == [1]  # at once
        await write(5)
        assert slow.told == [1]
        [(due_s, tell)] = clock.timers
        assert due_s == 2.0  # a rest as long as the round was
        clock.time_s = due_s
        tell()
        assert slow.told == [1, 5]
        clock.time_s = 10.0
        await write(1)
        assert slow.told == [1, 5, 1]
        await feed.stop()

    asyncio.run(main())


def test_short_rounds_take_a_tenth_of_the_time_and_long_ones_half_of_it() -> None:
    assert rest_s(0.0001) == 0.001
    assert rest_s(0.002) == 0.01
    assert rest_s(0.02) == 0.02
