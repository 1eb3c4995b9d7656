"""Links that break on one side only behave as TCP does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.seams.randomness import seeded_randomness
from actors.simulation.loop import VirtualLoop
from actors.simulation.machine import Machine
from actors.simulation.network import Fabric
from actors.simulation.trace import Trace


class _Noting(asyncio.Protocol):
    def __init__(self, notes: list[Any]) -> None:
        self._notes = notes

    def data_received(self, data: bytes) -> None:
        self._notes.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._notes.append("lost")


class _Pair:
    """A client "c" and a server "s" that notes what it gets."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.fabric = Fabric(loop, seeded_randomness("1"), Trace())
        self.client = Machine("c", self.fabric, "1").boot()
        self.server = Machine("s", self.fabric, "1").boot()
        self.got: list[Any] = []
        self.lost: list[Any] = []

    async def listen(self) -> None:
        await self.server.network.listen("s", 1, lambda: _Noting(self.got))

    async def connect(self) -> asyncio.Transport:
        transport, _ = await self.client.network.connect("s", 1, lambda: _Noting(self.lost))
        return transport


def _run(scenario: Callable[[_Pair], Any]) -> _Pair:
    loop = VirtualLoop()

    async def work() -> _Pair:
        pair = _Pair(loop)
        await pair.listen()
        await scenario(pair)
        return pair

    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()


def test_bytes_of_a_lost_connection_may_come_behind_those_of_the_next() -> None:
    async def scenario(pair: _Pair) -> None:
        (await pair.connect()).write(b"old")
        pair.fabric.break_senders("c", "s", 1.0)
        (await pair.connect()).write(b"new")
        await asyncio.sleep(2.0)

    pair = _run(scenario)
    assert pair.got == [b"new", b"old", "lost"]
    assert pair.lost == ["lost"]


def test_who_writes_to_a_connection_that_the_other_side_gave_up_is_told_so() -> None:
    async def scenario(pair: _Pair) -> None:
        transport = await pair.connect()
        pair.fabric.cut.add(("s", "c"))
        pair.fabric.break_senders("s", "c", 0.0)
        await asyncio.sleep(1.0)
        assert pair.lost == []
        transport.write(b"anybody?")
        await asyncio.sleep(1.0)

    assert _run(scenario).lost == ["lost"]


def test_what_is_under_way_when_a_cut_heals_arrives() -> None:
    async def scenario(pair: _Pair) -> None:
        transport = await pair.connect()
        pair.fabric.cut.add(("c", "s"))
        transport.write(b"late")
        transport.close()
        await asyncio.sleep(1.0)
        assert pair.got == []
        pair.fabric.cut.clear()
        pair.fabric.heal()
        await asyncio.sleep(1.0)

    assert _run(scenario).got == [b"late", "lost"]


def test_links_may_be_slow_between_some_only() -> None:
    async def scenario(pair: _Pair) -> None:
        transport = await pair.connect()
        pair.fabric.slow["c", "s"] = (0.5, 0.5)
        transport.write(b"slow")
        await asyncio.sleep(0.4)
        assert pair.got == []
        await asyncio.sleep(0.2)

    assert _run(scenario).got == [b"slow"]
