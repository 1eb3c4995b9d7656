"""Which faults happen when: a plan made from the seed before anything runs, and its execution."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from actors.seams.randomness import Randomness
from raftstore.simulation.cluster import SimulatedCluster

KINDS = (
    "kill", "power_loss", "power_loss_all", "torn_power", "last_words", "last_copies", "pause",
    "cut_off", "one_way", "ring", "bridge", "slow", "lossy", "reset", "overtake",
    "slow_peers", "transfer", "disputed",
    "drift", "jump", "sync_error", "disk_full", "bit_flip", "damaged_copy",
)  # fmt: skip
MESSAGES = (
    "append", "append_reply", "vote", "vote_reply", "pre_vote_reply", "read", "read_reply",
    "snapshot", "snapshot_reply", "timeout_now",
)  # fmt: skip
"""What members send one another: each is a moment at which to lose power."""
MAX_DRIFT = 0.005
MAX_CLIENTS = 10


class Fault(NamedTuple):
    at_s: float
    kind: str
    member: str
    duration_s: float


def plan(randomness: Randomness, names: Sequence[str], duration_s: float) -> list[Fault]:
    """Faults of some kinds only (a swarm), so that seeds differ in character."""
    kinds = randomness.sample(KINDS, randomness.randint(3, len(KINDS)))
    faults, now_s = [], randomness.uniform(1.0, 4.0)
    while now_s < duration_s:
        lasts_s = randomness.uniform(0.2, 6.0)
        faults.append(Fault(now_s, randomness.choice(kinds), randomness.choice(names), lasts_s))
        now_s += randomness.expovariate(1 / 2.5)
    return faults


class Nemesis:
    """Executes a plan; `heal` ends whatever lasts still."""

    def __init__(self, cluster: SimulatedCluster, randomness: Randomness) -> None:
        self._cluster, self._randomness = cluster, randomness
        self._tasks: list[asyncio.Task[None]] = []

    async def execute(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            await asyncio.sleep(max(0.0, fault.at_s - self._cluster.loop.time()))
            self._cluster.trace.add(self._cluster.loop.time(), "fault", *fault)
            work = getattr(self, f"_{fault.kind}")
            self._tasks.append(asyncio.create_task(work(fault.member, fault.duration_s)))

    async def heal(self) -> None:
        """No faults any more, every member that can run runs."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        cluster = self._cluster
        cluster.violations += [f"{error!r}" for error in ended if isinstance(error, Exception)]
        cluster.fabric.cut.clear()
        cluster.fabric.slow.clear()
        cluster.fabric.delay_s, cluster.fabric.loss = (0.0002, 0.002), 0.0
        for name, machine in cluster.machines.items():
            machine.resume()
            machine.clock.drift(1.0)
            machine.operations_left = None
            cluster.last_words.pop(name, None)
            machine.disk.full, machine.disk.failing_syncs = False, 0
            if name in cluster.names:
                await self._restart(name)
        cluster.fabric.heal()

    # ---- machines

    async def _restart(self, name: str) -> None:
        cluster = self._cluster
        if name not in cluster.refusing and not cluster.is_up(name):
            cluster.stop(name, power_loss=False)
            await cluster.start(name)

    async def _kill(self, name: str, duration_s: float) -> None:
        self._cluster.stop(name, power_loss=False)
        await asyncio.sleep(duration_s)
        await self._restart(name)

    async def _power_loss(self, name: str, duration_s: float) -> None:
        await self._cut_power([name])
        await asyncio.sleep(duration_s)
        await self._restart(name)

    async def _power_loss_all(self, name: str, duration_s: float) -> None:
        await self._cut_power(self._cluster.names)
        await asyncio.sleep(duration_s / 2)
        for each in self._cluster.names:
            await self._restart(each)

    async def _cut_power(self, names: Sequence[str]) -> None:
        """At any moment, mostly between a write and its sync."""
        machines = self._cluster.machines
        if self._randomness.random() < 0.8:
            for name in names:
                machines[name].operations_left = self._randomness.choice((0, 1, 1, 1, 2, 3))
            await asyncio.sleep(0.3)
        for name in names:
            machines[name].operations_left = None
            self._cluster.stop(name, power_loss=True)

    async def _torn_power(self, name: str, duration_s: float) -> None:
        """Power fails in the middle of work on the disk."""
        self._cluster.machines[name].operations_left = self._randomness.randint(0, 40)
        await asyncio.sleep(duration_s)
        self._cluster.machines[name].operations_left = None
        await self._restart(name)

    async def _last_words(self, name: str, duration_s: float) -> None:
        """Power fails right after a message of some kind was sent."""
        self._cluster.last_words[name] = self._randomness.choice(MESSAGES)
        await asyncio.sleep(duration_s)
        self._cluster.last_words.pop(name, None)
        await self._restart(name)

    async def _last_copies(self, name: str, duration_s: float) -> None:
        """Whoever acknowledges loses power in its next sync; later only such copies are left."""
        await self._leave_copies(name, damaged=False)

    async def _damaged_copy(self, name: str, duration_s: float) -> None:
        """The same, and what was written last is damaged: it must not count as never written."""
        await self._leave_copies(name, damaged=True)

    async def _leave_copies(self, name: str, damaged: bool) -> None:
        """A minority lags, a minority is lost with the leader: the rest must know all."""
        cluster = self._cluster
        leader = next(iter(cluster.leaders), name)
        followers = [n for n in cluster.names if n != leader]
        self._randomness.shuffle(followers)
        half = len(followers) // 2
        lagging, syncing = followers[:half], followers[half:]
        ways = [w for a in lagging for b in cluster.names if a != b for w in ((a, b), (b, a))]
        cut = asyncio.create_task(self._isolate(ways, 0.6))
        await asyncio.sleep(0.3)
        for each in syncing:
            cluster.machines[each].operations_left = self._randomness.choice((0, 1, 1, 2, 3))
        await asyncio.sleep(0.3)
        cluster.stop(leader, power_loss=True)
        await cut
        for each in syncing:
            cluster.machines[each].operations_left = None
            if damaged and self._may_damage(each):
                cluster.stop(each, power_loss=True)
                self._damage(each, ".wal", newest=True)
            await self._restart(each)
        await asyncio.sleep(4.0)
        await self._restart(leader)

    async def _disputed(self, name: str, duration_s: float) -> None:
        """Leadership goes from hand to hand, and whoever votes loses power and comes back.

        The leader is cut off; then, once others have voted, those that they voted for are, and
        the leader of before can be heard again.
        """
        cluster = self._cluster
        old = next(iter(cluster.leaders), name)
        others = [n for n in cluster.names if n != old]
        for each in others:
            cluster.last_words[each] = "vote_reply"
        fabric = cluster.fabric
        first = {way for each in others for way in ((each, old), (old, each))}
        fabric.cut |= first
        voters = await self._first_to_fall(others, 5.0)
        candidates = [n for n in others if n not in voters]
        for each in others:
            cluster.last_words.pop(each, None)
        fabric.cut -= first
        ways = [w for a in candidates for b in cluster.names if a != b for w in ((a, b), (b, a))]
        cut = asyncio.create_task(self._isolate(ways, self._randomness.uniform(1.0, 4.0)))
        await asyncio.sleep(self._randomness.uniform(0.0, 0.3))
        for each in voters:
            await self._restart(each)
        await cut

    async def _first_to_fall(self, names: Sequence[str], timeout_s: float) -> list[str]:
        """Wait until some of them are down."""
        end_s = self._cluster.loop.time() + timeout_s
        while self._cluster.loop.time() < end_s:
            down = [name for name in names if not self._cluster.is_up(name)]
            if down:
                await asyncio.sleep(0.005)
                return [name for name in names if not self._cluster.is_up(name)]
            await asyncio.sleep(0.01)
        return []

    async def _transfer(self, name: str, duration_s: float) -> None:
        """Leadership is asked to move, whatever else goes on."""
        self._cluster.transfer(name)

    async def _pause(self, name: str, duration_s: float) -> None:
        machine = self._cluster.machines[name]
        machine.pause()
        await asyncio.sleep(duration_s)
        machine.resume()

    # ---- links

    async def _isolate(self, ways: list[tuple[str, str]], duration_s: float) -> None:
        fabric = self._cluster.fabric
        fabric.cut.update(ways)
        await asyncio.sleep(duration_s)
        fabric.cut.difference_update(ways)
        for source, target in ways:
            fabric.reset_some(source, target, 0.3)
        fabric.heal()

    async def _cut_off(self, name: str, duration_s: float) -> None:
        """Some clients still reach the member: often it leads, and would answer them."""
        name = next(iter(self._cluster.leaders), name) if self._randomness.random() < 0.7 else name
        others = [n for n in self._cluster.names if n != name]
        others += [f"c{n}" for n in range(MAX_CLIENTS) if self._randomness.random() < 0.5]
        await self._isolate([w for o in others for w in ((o, name), (name, o))], duration_s)

    async def _one_way(self, name: str, duration_s: float) -> None:
        others = [n for n in self._cluster.names if n != name]
        incoming = self._randomness.random() < 0.5
        await self._isolate([(o, name) if incoming else (name, o) for o in others], duration_s)

    async def _ring(self, name: str, duration_s: float) -> None:
        """Everybody reaches a majority, and everybody another one (with 5 members)."""
        names = self._cluster.names
        ways = [(a, b) for a in names for b in names if a != b]
        if len(names) > 3:
            steps = {way: (names.index(way[1]) - names.index(way[0])) % len(names) for way in ways}
            ways = [way for way in ways if 1 < steps[way] < len(names) - 1]
        else:
            ways = [way for way in ways if name not in way]
        await self._isolate(ways, duration_s)

    async def _bridge(self, name: str, duration_s: float) -> None:
        """Two halves that only one member connects."""
        others = [n for n in self._cluster.names if n != name]
        left, right = others[: len(others) // 2], others[len(others) // 2 :]
        await self._isolate([w for a in left for b in right for w in ((a, b), (b, a))], duration_s)

    async def _slow(self, name: str, duration_s: float) -> None:
        await self._links((0.01, self._randomness.uniform(0.02, 0.5)), 0.0, duration_s)

    async def _slow_peers(self, name: str, duration_s: float) -> None:
        """Members hear one another late, and clients as before."""
        names, slow = self._cluster.names, self._cluster.fabric.slow
        longest_s = self._randomness.uniform(0.02, 0.5)
        ways = [(a, b) for a in names for b in names if a != b and self._randomness.random() < 0.8]
        slow.update(dict.fromkeys(ways, (0.005, longest_s)))
        await asyncio.sleep(duration_s)
        for way in ways:
            slow.pop(way, None)

    async def _lossy(self, name: str, duration_s: float) -> None:
        await self._links((0.0002, 0.01), self._randomness.uniform(0.01, 0.3), duration_s)

    async def _links(self, delay_s: tuple[float, float], loss: float, duration_s: float) -> None:
        fabric = self._cluster.fabric
        fabric.delay_s, fabric.loss = delay_s, loss
        await asyncio.sleep(duration_s)
        fabric.delay_s, fabric.loss = (0.0002, 0.002), 0.0

    async def _reset(self, name: str, duration_s: float) -> None:
        for other in [*self._cluster.names, *(f"c{number}" for number in range(MAX_CLIENTS))]:
            self._cluster.fabric.reset_some(name, other, 0.7)

    async def _overtake(self, name: str, duration_s: float) -> None:
        """Senders lose connections whose bytes still arrive, behind those of the next ones."""
        for other in self._cluster.names:
            self._cluster.fabric.break_senders(name, other, duration_s / 3)

    # ---- clocks

    async def _drift(self, name: str, duration_s: float) -> None:
        rate = 1.0 + self._randomness.uniform(-MAX_DRIFT, MAX_DRIFT)
        self._cluster.machines[name].clock.drift(rate)

    async def _jump(self, name: str, duration_s: float) -> None:
        self._cluster.machines[name].clock.jump(self._randomness.uniform(-1e6, 1e6))

    # ---- disks

    async def _sync_error(self, name: str, duration_s: float) -> None:
        self._cluster.machines[name].disk.failing_syncs = 1
        await self._restart_after(name, duration_s)

    async def _disk_full(self, name: str, duration_s: float) -> None:
        self._cluster.machines[name].disk.full = True
        await self._restart_after(name, duration_s)

    async def _restart_after(self, name: str, duration_s: float) -> None:
        await asyncio.sleep(duration_s)
        disk = self._cluster.machines[name].disk
        disk.full, disk.failing_syncs = False, 0
        await self._restart(name)

    async def _bit_flip(self, name: str, duration_s: float) -> None:
        """Damage what a member has kept."""
        if self._may_damage(name):
            self._cluster.stop(name, power_loss=True)
            self._damage(name, self._randomness.choice([".wal", ".snap"]), newest=False)
            await self._restart(name)

    def _may_damage(self, name: str) -> bool:
        """Never so many that no majority is left, and none where members come and go."""
        if self._cluster.changing:
            return False
        damaged = {*self._cluster.damaged, name}
        return len(damaged) <= (len(self._cluster.names) - 1) // 2

    def _damage(self, name: str, suffix: str, newest: bool) -> None:
        if self._cluster.machines[name].disk.flip_bit(suffix, newest) is not None:
            self._cluster.damaged.add(name)
