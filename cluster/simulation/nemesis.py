"""What goes wrong in a seed, and when."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from actors.seams import Randomness
from cluster.simulation.world import World


@dataclass(frozen=True)
class Fault:
    at_s: float
    kind: str
    target: str
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.at_s:7.2f} s: {self.kind} {self.target} for {self.lasts_s:.2f} s"


MIDWAY_S = 3.0
"""How long a fault waits for something to happen."""
MANAGER = ("kill", "pause", "pause_midway", "kill_midway", "cut_off", "cut_off", "reset")
SERVER = ("kill", "pause", "store_cut", "store_lag", "store_loss", "reset", "answers_lost")
NODE = ("kill", "power_off", "cut_off", "unready")
SCHEDULER = ("kill", "pause", "cut_off")


def plan(randomness: Randomness, world: World, until_s: float) -> list[Fault]:
    """Of some kinds only, so that a seed is dense in them; none in a few seeds."""
    groups = {
        "manager": (world.managers, MANAGER), "server": (world.servers, SERVER),
        "node": (world.nodes, NODE), "scheduler": (world.schedulers, SCHEDULER),
    }  # fmt: skip
    chosen = randomness.sample(sorted(groups), randomness.randint(1, 3))
    if randomness.random() < 0.08:
        return []
    faults = []
    at_s = randomness.uniform(3.0, 8.0)
    pace_s = randomness.choice([2.0, 5.0, 10.0])
    while at_s < until_s:
        targets, kinds = groups[randomness.choice(chosen)]
        longest_s = randomness.choice([1.0, 4.0, 12.0, 25.0])
        lasts_s = min(randomness.uniform(0.2, longest_s), until_s - at_s)
        kind, target = randomness.choice(kinds), randomness.choice(targets)
        faults.append(Fault(at_s, kind, target, lasts_s))
        at_s += randomness.expovariate(1 / pace_s)
    return faults


class Nemesis:
    def __init__(self, world: World, randomness: Randomness) -> None:
        self._world, self._random = world, randomness

    async def execute(self, faults: list[Fault]) -> None:
        """Return when all of them are over."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._run(fault))

    async def _run(self, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, fault.at_s - self._world.loop.time()))
        await self._kind(fault.kind)(fault.target, fault.lasts_s)

    def _kind(self, name: str) -> Callable[[str, float], Awaitable[None]]:
        found: Callable[[str, float], Awaitable[None]] = getattr(self, f"_{name}")
        return found

    async def heal(self) -> None:
        """Everything runs, and nothing is in its way."""
        world = self._world
        world.fabric.cut.clear()
        world.fabric.slow.clear()
        for link in world.links.values():
            link.cut, link.loss, link.lag_s = False, 0.0, 0.0
        for name, machine in world.machines.items():
            machine.resume()
            if name != "user" and not world.is_up(name):
                await world.start(name)
        world.fabric.heal()

    # ---- kinds

    async def _kill(self, name: str, lasts_s: float) -> None:
        if self._world.is_up(name):
            self._world.kill(name)
            await self._back(name, lasts_s)

    async def _power_off(self, name: str, lasts_s: float) -> None:
        if self._world.is_up(name):
            self._world.power_off(name)
            await self._back(name, lasts_s)

    async def _back(self, name: str, lasts_s: float) -> None:
        await asyncio.sleep(lasts_s)
        if not self._world.is_up(name):
            await self._world.start(name)

    async def _pause(self, name: str, lasts_s: float) -> None:
        machine = self._world.machines[name]
        process = machine.process
        machine.pause()
        await asyncio.sleep(lasts_s)
        if process is not None and machine.process is process:
            machine.resume()

    async def _pause_midway(self, name: str, lasts_s: float) -> None:
        """While it makes or removes pods; for longer than it may lead without saying so."""
        await self._midway()
        await self._pause(name, lasts_s + self._random.choice([0.0, 6.0]))

    async def _kill_midway(self, name: str, lasts_s: float) -> None:
        await self._midway()
        await self._kill(name, lasts_s)

    async def _midway(self) -> None:
        found = asyncio.Event()
        self._world.when_pods_change.append(found.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MIDWAY_S):
                await found.wait()

    async def _cut_off(self, name: str, lasts_s: float) -> None:
        """From the API servers, all of them or one."""
        world = self._world
        servers = self._random.choice([world.servers, [self._random.choice(world.servers)]])
        ways = {(name, s) for s in servers} | {(s, name) for s in servers}
        if self._random.random() < 0.2:
            ways = {way for way in ways if way[0] == name}
        world.fabric.cut |= ways
        await asyncio.sleep(lasts_s)
        world.fabric.cut -= ways
        world.fabric.heal()

    async def _answers_lost(self, server: str, lasts_s: float) -> None:
        """What managers ask arrives; what is answered does not."""
        ways = {(server, manager) for manager in self._world.managers}
        self._world.fabric.cut |= ways
        await asyncio.sleep(lasts_s)
        self._world.fabric.cut -= ways
        self._world.fabric.heal()

    async def _reset(self, name: str, lasts_s: float) -> None:
        """Its connections break, again and again."""
        world, rounds = self._world, self._random.randint(1, 4)
        for _ in range(rounds):
            for other in list(world.machines):
                world.fabric.reset_some(name, other, 0.7)
                world.fabric.reset_some(other, name, 0.7)
            await asyncio.sleep(lasts_s / rounds)

    async def _store_cut(self, server: str, lasts_s: float) -> None:
        self._world.links[server].cut = True
        await asyncio.sleep(lasts_s)
        self._world.links[server].cut = False

    async def _store_lag(self, server: str, lasts_s: float) -> None:
        self._world.links[server].lag_s = self._random.uniform(0.2, 2.5)
        await asyncio.sleep(lasts_s)
        self._world.links[server].lag_s = 0.0

    async def _store_loss(self, server: str, lasts_s: float) -> None:
        self._world.links[server].loss = self._random.uniform(0.02, 0.3)
        await asyncio.sleep(lasts_s)
        self._world.links[server].loss = 0.0

    async def _unready(self, node: str, lasts_s: float) -> None:
        """Some of its pods fail their probes for a while."""
        now_s = self._world.machines[node].clock.now()
        for container in self._world.containers[node].values():
            if self._random.random() < 0.5:
                container.unready_until_s = now_s + lasts_s
        await asyncio.sleep(lasts_s)
