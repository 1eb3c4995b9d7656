"""One seed: a cluster, its clients, its faults, healing, and what the checkers say."""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import dataclass
from typing import Any

from actors.seams.randomness import seeded_randomness
from actors.simulation.loop import VirtualLoop
from raftstore.simulation.cluster import SimulatedCluster
from raftstore.simulation.nemesis import Fault, Nemesis, plan
from raftstore.simulation.workload import Workload
from raftstore.verify import revisions, watches

CLIENTS = 4
FAULTY_S, HEALED_S = 45.0, 15.0
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


async def _run(loop: VirtualLoop, seed: int, members: int) -> Report:
    cluster = SimulatedCluster(loop, seed, members)
    workload = Workload(loop.time)
    randomness = seeded_randomness(f"{seed}/plan")
    faults = plan(randomness, cluster.names, FAULTY_S)
    for name in cluster.names:
        await cluster.start(name)
    clients = [await cluster.client(number, CALL_TIMEOUT_S) for number in range(CLIENTS)]
    tasks = _work(workload, clients, seed)
    nemesis = Nemesis(cluster, seeded_randomness(f"{seed}/nemesis"))
    await nemesis.execute(faults)
    await asyncio.sleep(max(0.0, FAULTY_S - loop.time()))
    await nemesis.heal()
    healed_s = loop.time()
    await asyncio.sleep(HEALED_S)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    crashed = [repr(e) for e in ended if isinstance(e, Exception)]
    for client in clients:
        await client.stop()
    equal = await cluster.wait_until_equal(10.0)
    for name in cluster.names:
        cluster.examine(name)
    violations = [*crashed, *workload.broken, *cluster.violations]
    if not equal:
        violations.append("members that run do not come to hold the same state")
    digest = cluster.trace.digest()
    await _shut_down(cluster)
    violations += _progress(workload, healed_s) + _check(cluster, workload)
    answered = sum(call.outcome == "ok" for call in workload.calls)
    return Report(
        seed, faults, violations, digest, len(workload.calls), answered,
        len(cluster.applied.events),
    )  # fmt: skip


async def _shut_down(cluster: SimulatedCluster) -> None:
    """Nothing that is left may act any more, whenever it is collected."""
    for process in cluster.fabric.processes:
        process.kill()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _work(workload: Workload, clients: list[Any], seed: int) -> list[asyncio.Task[None]]:
    works = [
        workload.run(number, client, seeded_randomness(f"{seed}/client/{number}"))
        for number, client in enumerate(clients)
    ]
    works.append(workload.watch(clients[0], seeded_randomness(f"{seed}/watch/0")))
    works.append(workload.watch(clients[1], seeded_randomness(f"{seed}/watch/1")))
    works.append(workload.compact(clients[2], seeded_randomness(f"{seed}/compact")))
    return [asyncio.create_task(work) for work in works]


def _progress(workload: Workload, healed_s: float) -> list[str]:
    """Healed, the store answers: every client, some seconds later."""
    settled_s = healed_s + CALL_TIMEOUT_S + 5.0
    for number in range(CLIENTS):
        late = [c for c in workload.calls if c.client == number and c.invoked_s >= settled_s]
        if not late or any(c.outcome in ("failed", "unknown") for c in late):
            return [f"no progress for client {number} after healing at {healed_s:.3f} s"]
    return []


def _check(cluster: SimulatedCluster, workload: Workload) -> list[str]:
    found = revisions.check(workload.calls, cluster.applied)
    compacted = max(workload.compacted, default=0)
    for watched in workload.watches:
        found += watches.check(
            watched.batches, watched.start, b"key/", watched.prev_kv, cluster.applied, compacted
        )
    return found
