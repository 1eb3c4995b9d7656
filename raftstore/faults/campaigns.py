"""Campaigns: one kind of fault many times under load, then what must hold. Each gives a figure."""

from __future__ import annotations

import asyncio
import pathlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from actors.seams import system_seams
from actors.seams.randomness import Randomness, seeded_randomness
from raftstore.client import StoreClient
from raftstore.faults.leases import LeaseLoad
from raftstore.faults.processes import StoreProcesses
from raftstore.faults.recording import PINNED, Recording
from raftstore.raft.transport import split_address
from raftstore.types import Range
from raftstore.verify.history import Call

Figure = dict[str, Any]
RESUME_S = {"median": 2.0, "p99": 4.0}
SETTLE_S = 30.0
SILENT_S = 0.4
"""A read that took this long was sent to a member that did not answer."""
LEASES_PER_S = 4
CALM_S = 8.0
"""Between two faults: longer than any TTL here, as every new leader starts leases afresh."""
SNAPSHOTS = {"snapshot_entries": 300, "keep_entries": 50}
"""Often enough to be under way when power fails."""


class Scene:
    """Members under recorded load, while a campaign breaks them."""

    def __init__(self, folder: pathlib.Path, seed: str, *, pinned: bool = False) -> None:
        self.store = StoreProcesses(folder, seed=seed, **SNAPSHOTS)
        self.recording = Recording(self.store.endpoints, seed, pinned)
        self.randomness: Randomness = seeded_randomness(seed)
        self.terms = 0
        self.broken_s: list[float] = []
        self._client = StoreClient(self.store.endpoints)

    async def play(self, faults: Callable[[Scene], Awaitable[None]]) -> list[str]:
        """What is wrong, in words. Raises TimeoutError if the store does not recover."""
        self.store.start()
        await self._client.start(system_seams())
        playing = asyncio.create_task(self._play(faults))
        try:
            while not playing.done():
                if ended := self.store.ended():
                    return ended
                await asyncio.wait([playing], timeout=0.1)
            return await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            await self.recording.stop()
            await self._client.stop()
            self.store.stop()

    async def _play(self, faults: Callable[[Scene], Awaitable[None]]) -> list[str]:
        await self.recording.start()
        await faults(self)
        await self.all_answer()
        self.recording.raise_errors()
        await self.recording.stop()
        return await self.recording.check()

    async def load(self, shortest_s: float, longest_s: float) -> None:
        await asyncio.sleep(self.randomness.uniform(shortest_s, longest_s))

    async def leader(self) -> str:
        async with asyncio.timeout(SETTLE_S):
            while True:
                statuses = [s for s in await self._client.status() if s.healthy]
                leading = {s.name: s.term for s in statuses if s.name == s.leader}
                if leading:
                    return max(leading, key=lambda name: leading[name])
                await asyncio.sleep(0.02)

    async def all_answer(self) -> None:
        """Until every member follows one leader and has applied what is there now."""
        async with asyncio.timeout(SETTLE_S):
            goal = (await self._client.range(b"\0", count_only=True)).revision
            while True:
                statuses = await self._client.status()
                leaders = {s.leader for s in statuses}
                ready = all(s.healthy and s.revision >= goal for s in statuses)
                if ready and len(leaders) == 1 and "" not in leaders:
                    self.terms = max(s.term for s in statuses)
                    return
                await asyncio.sleep(0.02)

    def outcomes(self) -> dict[str, int]:
        calls = self.recording.workload.calls
        writes = [call for call in calls if not isinstance(call.op, Range)]
        return {
            "acknowledged_writes": sum(call.outcome == "ok" for call in writes),
            "unknown_writes": sum(call.outcome == "unknown" for call in writes),
            "reads": sum(c.outcome == "ok" and isinstance(c.op, Range) for c in calls),
        }


async def power_cuts(folder: pathlib.Path, seed: str, cycles: int) -> Figure:
    """All members lose power at once, again and again: no acknowledged write is lost."""
    recovered_s: list[float] = []

    async def faults(scene: Scene) -> None:
        for _ in range(cycles):
            await scene.load(0.05, 0.8)
            scene.store.kill()
            off_s = time.monotonic()
            scene.store.start()
            await scene.recording.progress(off_s)
            recovered_s.append(scene.recording.resumed_s(off_s) or 0.0)

    scene = Scene(folder, seed)
    found = await scene.play(faults)
    return {
        "figure": "power cut of all members",
        "cycles": cycles,
        **scene.outcomes(),
        "writes_again_s": distribution(recovered_s),
        "violations": found,
    }


async def leader_kills(folder: pathlib.Path, seed: str, kills: int) -> Figure:
    """The leader loses power: writes resume soon, and none is lost."""
    resumed_s: list[float] = []

    async def faults(scene: Scene) -> None:
        for _ in range(kills):
            await scene.load(0.2, 0.6)
            leader = await scene.leader()
            killed_s = time.monotonic()
            scene.store.kill(leader)
            await scene.recording.progress(killed_s)
            resumed_s.append(scene.recording.resumed_s(killed_s) or 0.0)
            scene.store.start(leader)
            await scene.all_answer()

    scene = Scene(folder, seed)
    found = await scene.play(faults)
    spread = distribution(resumed_s)
    late = [f"{at} is {spread[at]} s, not {s} s" for at, s in RESUME_S.items() if spread[at] > s]
    return {
        "figure": "leader killed",
        "kills": kills,
        **scene.outcomes(),
        "writes_again_s": spread,
        "violations": [*late, *found],
    }


async def leader_pauses(folder: pathlib.Path, seed: str, pauses: int) -> Figure:
    """The leader stops and goes on, unaware of its successor: no read is stale."""

    async def faults(scene: Scene) -> None:
        for _ in range(pauses):
            await scene.load(0.2, 0.6)
            await _pause_leader(scene)

    return await _reads(folder, seed, "leader paused", pauses, faults)


async def leader_cuts(folder: pathlib.Path, seed: str, cuts: int) -> Figure:
    """The leader is cut off from the others, one way or both, and from some of the clients."""

    async def faults(scene: Scene) -> None:
        for number in range(cuts):
            await scene.load(0.2, 0.6)
            leader = await scene.leader()
            others = [name for name in scene.store.names if name != leader]
            away, back = [(leader, o) for o in others], [(o, leader) for o in others]
            ways, reset = (away + back, away + back, away, back)[number % 4], number % 2 == 0
            endpoint = scene.store.endpoints[scene.store.names.index(leader)]
            scene.broken_s.append(time.monotonic())
            scene.store.cut(ways, reset=reset)
            scene.recording.network.cut([split_address(endpoint)], reset=reset)
            await scene.load(0.5, 3.5)
            scene.store.cut([])
            scene.recording.network.cut([])
            await scene.all_answer()

    return await _reads(folder, seed, "leader cut off", cuts, faults)


async def leases(folder: pathlib.Path, seed: str, number: int) -> Figure:
    """The leader dies or pauses now and then: no lease ends early, or more than TTL + 2 s late."""
    over_s = max(10.0, number / LEASES_PER_S)
    scene = Scene(folder, seed)
    load = LeaseLoad(scene.store.endpoints, scene.randomness)

    async def faults(scene: Scene) -> None:
        await load.start()
        running = asyncio.create_task(load.run(number, over_s))
        kill = True
        while not running.done():
            await scene.load(0.5, 1.0)
            await (_kill_leader(scene) if kill else _pause_leader(scene))
            kill = not kill
            await asyncio.wait([running], timeout=CALM_S)
        await running
        await load.ended()
        await load.stop()

    found = await scene.play(faults)
    return {
        "figure": "leases over leader kills and pauses",
        "leases": len(load.lives),
        **scene.outcomes(),
        "after_ttl_s": distribution(load.late_s()),
        "violations": [*load.check(), *found],
    }


async def _kill_leader(scene: Scene) -> None:
    leader = await scene.leader()
    scene.store.kill(leader)
    scene.store.start(leader)
    await scene.all_answer()


async def _pause_leader(scene: Scene) -> None:
    leader = await scene.leader()
    scene.broken_s.append(time.monotonic())
    scene.store.pause(leader)
    try:
        await scene.load(0.5, 3.0)
    finally:
        scene.store.resume(leader)
    await scene.all_answer()


async def _reads(
    folder: pathlib.Path,
    seed: str,
    name: str,
    times: int,
    faults: Callable[[Scene], Awaitable[None]],
) -> Figure:
    scene = Scene(folder, seed, pinned=True)
    found = await scene.play(faults)
    recording = scene.recording
    calls = [call for call in recording.workload.calls if call.client == PINNED]
    resumed_s = [recording.resumed_s(moment_s) or 0.0 for moment_s in scene.broken_s]
    waited = [call for call in calls if call.returned_s - call.invoked_s > SILENT_S]
    return {
        "figure": name,
        "times": times,
        **scene.outcomes(),
        "reads_at_one_member": _count(calls),
        "writes_again_s": distribution(resumed_s),
        "of_these_while_it_was_silent": _count(waited),
        "terms": scene.terms,
        "violations": found,
    }


def _count(calls: Sequence[Call]) -> dict[str, int]:
    return {kind: sum(c.outcome == kind for c in calls) for kind in ("ok", "failed", "open")}


def distribution(values_s: Sequence[float]) -> dict[str, float]:
    """Seconds: nearest-rank percentiles."""
    ordered = sorted(values_s) or [0.0]
    ranks = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(ordered[round(rank * last)], 3) for name, rank in ranks.items()}
