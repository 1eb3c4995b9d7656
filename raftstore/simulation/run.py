"""One seed: a cluster, its clients, its faults, healing, and what the checkers say."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from actors.seams.randomness import Randomness, seeded_randomness
from actors.simulation.loop import VirtualLoop
from raftstore.client import StoreClient
from raftstore.simulation.changes import MemberChanges
from raftstore.simulation.cluster import SimulatedCluster
from raftstore.simulation.leasing import Leasing
from raftstore.simulation.nemesis import MAX_DRIFT, Fault, Nemesis, plan
from raftstore.simulation.operations import KEYS
from raftstore.simulation.workload import LEASES, Workload
from raftstore.types import Event
from raftstore.verify import hashes, leases, linearizability, revisions, watches

CLIENTS, HOLDERS = 4, 3
CHANGING_MEMBERS = 0.5
"""Share of the seeds in which members come and go."""
FAULTY_S, HEALED_S = 45.0, 15.0
SETTLED_S = 5.0
"""How long after healing there may still be elections."""
STALE_S = 4.0
"""Twice the time between two reports of progress to a watch, and a reconnection."""
CALL_TIMEOUT_S = 3.0


@dataclass
class Report:
    seed: int
    faults: list[Fault]
    violations: list[str]
    trace_hash: str
    calls: int
    answered: int
    revisions: int
    leases: int
    members: int = 3

    @property
    def replay(self) -> str:
        """The command that does the very same again."""
        return f"scripts/simulate store --seeds {self.seed} --members {self.members}"


def run_seed(seed: int, members: int = 3) -> Report:
    """60 virtual seconds. The same seed gives the same trace, in every process."""
    loop = VirtualLoop()
    unexpected: list[str] = []
    loop.set_exception_handler(lambda _, context: _note(unexpected, context))
    logging.disable(logging.CRITICAL)
    gc.disable()  # when it finds garbage depends on addresses, and finalizers would show
    try:
        report = loop.run_until_complete(_run(loop, seed, members))
        report.violations.extend(unexpected)
        return report
    finally:
        logging.disable(logging.NOTSET)
        loop.set_exception_handler(lambda _, context: None)
        loop.close()
        gc.enable()
        gc.collect()


def _note(unexpected: list[str], context: dict[str, Any]) -> None:
    error = context.get("exception")
    if error is not None:
        unexpected.append(f"{context['message']}: {error!r}")


class _Simulation:
    """What one run is made of."""

    def __init__(self, loop: VirtualLoop, seed: int, members: int) -> None:
        self.loop, self.seed = loop, seed
        self.cluster = SimulatedCluster(loop, seed, members)
        self.workload = Workload(loop.time)
        self.leasing = Leasing(loop.time, self.workload.calls)
        self.healed_s = self.end_s = 0.0
        self.tasks: list[asyncio.Task[None]] = []
        self.clients: list[StoreClient] = []
        self.changing: MemberChanges | None = None
        self.changes: asyncio.Task[None] | None = None

    def randomness(self, what: str) -> Randomness:
        return seeded_randomness(f"{self.seed}/{what}")

    async def begin(self) -> None:
        for name in self.cluster.names:
            await self.cluster.start(name)
        for number in range(CLIENTS):
            self.clients.append(await self.cluster.client(number, CALL_TIMEOUT_S))
        work, (first, second, third, fourth) = self.workload, self.clients
        for number, client in enumerate(self.clients):
            self._do(work.run(number, client, self.randomness(f"client/{number}")))
        for number in range(HOLDERS):
            client = self.clients[number]
            self._do(self.leasing.run(number, client, self.randomness(f"leases/{number}")))
        self._do(work.watch(0, first, self.randomness("watch/0")))
        self._do(work.watch(1, second, self.randomness("watch/1")))
        self._do(work.compact(third, self.randomness("compact")))
        self._do(work.compare(fourth, self.cluster.endpoints, self.randomness("compare")))
        randomness = self.randomness("members")
        if randomness.random() < CHANGING_MEMBERS:
            self.cluster.changing = True
            self.changing = MemberChanges(self.cluster, first, randomness)
            self.changes = asyncio.create_task(self.changing.run())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def settle(self) -> None:
        """No changes of the members any more."""
        if self.changes is not None and self.changing is not None:
            self.changes.cancel()
            [ended] = await asyncio.gather(self.changes, return_exceptions=True)
            if isinstance(ended, Exception):
                self.cluster.violations.append(repr(ended))
            self.cluster.violations += self.changing.broken

    async def end(self) -> None:
        """End the clients; the members come to hold the same."""
        self.end_s = self.loop.time()
        for task in self.tasks:
            task.cancel()
        ended = await asyncio.gather(*self.tasks, return_exceptions=True)
        found = self.cluster.violations
        found += [repr(e) for e in ended if isinstance(e, Exception)]
        if not await self.cluster.wait_until_equal(10.0):
            found.append("members that run do not come to hold the same state")
        endpoints = self.cluster.counting_endpoints
        told = await self.workload.hash_all(self.clients[0], endpoints, 0)
        if len(told) < len(endpoints):
            found.append(f"only {len(told)} of {endpoints} answer")
        for client in self.clients:
            await client.stop()
        for name in self.cluster.names:
            self.cluster.examine(name)


async def _run(loop: VirtualLoop, seed: int, members: int) -> Report:
    simulation = _Simulation(loop, seed, members)
    cluster = simulation.cluster
    faults = plan(simulation.randomness("plan"), cluster.names, FAULTY_S)
    await simulation.begin()
    nemesis = Nemesis(cluster, simulation.randomness("nemesis"))
    await nemesis.execute(faults)
    await asyncio.sleep(max(0.0, FAULTY_S - loop.time()))
    await simulation.settle()
    await nemesis.heal()
    simulation.healed_s = loop.time()
    await asyncio.sleep(HEALED_S)
    await simulation.end()
    digest = cluster.trace.digest()
    await _shut_down(cluster)
    calls = simulation.workload.calls
    answered = sum(call.outcome == "ok" for call in calls)
    return Report(
        seed, faults, _violations(simulation), digest, len(calls), answered,
        len(cluster.applied.events), len(simulation.leasing.held), members,
    )  # fmt: skip


async def _shut_down(cluster: SimulatedCluster) -> None:
    """Nothing that is left may act any more, whenever it is collected."""
    for process in cluster.fabric.processes:
        process.kill()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _violations(simulation: _Simulation) -> list[str]:
    cluster, workload, leasing = simulation.cluster, simulation.workload, simulation.leasing
    applied = cluster.applied
    found = [*workload.broken, *leasing.broken, *cluster.violations]
    found += _progress(workload, simulation.healed_s)
    found += revisions.check(workload.calls, applied, _ends_a_lease)
    found += linearizability.check(workload.calls, KEYS)
    settled_s = max(simulation.healed_s + SETTLED_S, *cluster.leading_s, 0.0)
    found += leases.check(leasing.held, applied, settled_s, simulation.end_s, MAX_DRIFT)
    found += hashes.check(workload.hashes)
    compacted = max(workload.compacted, default=0)
    for watched in workload.watches:
        found += watches.check(watched, applied, compacted)
    for watched in workload.open_watches.values():
        found += _stalled(watched, simulation)
    return found


def _ends_a_lease(revision: int, events: Sequence[Event]) -> bool:
    return all(e.type == "delete" and e.kv.key.startswith(LEASES) for e in events)


def _progress(workload: Workload, healed_s: float) -> list[str]:
    """Healed, the store answers: every client, some seconds later."""
    settled_s = healed_s + CALL_TIMEOUT_S + SETTLED_S
    for number in range(CLIENTS):
        late = [c for c in workload.calls if c.client == number and c.invoked_s >= settled_s]
        if not late or any(c.outcome in ("failed", "unknown") for c in late):
            return [f"no progress for client {number} after healing at {healed_s:.3f} s"]
    return []


def _stalled(watched: watches.Watched, simulation: _Simulation) -> list[str]:
    """Healed, a watch that has been open for a while is told what happens, or how far it is."""
    applied = simulation.cluster.applied
    old_s = simulation.end_s - STALE_S
    if watched.opened_s > old_s - STALE_S or old_s < simulation.healed_s + SETTLED_S:
        return []
    known = max((r for r, at_s in applied.at_s.items() if at_s < old_s), default=1)
    return watches.check_current(watched, known)
