"""One seed: a control plane, its users, its faults, healing, and what the checks say."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.seams.randomness import seeded_randomness
from actors.simulation.loop import VirtualLoop
from cluster.simulation.checks import daemonsets, losses, quiet, replicas, statefulsets
from cluster.simulation.checks.budgets import Budgets
from cluster.simulation.checks.history import Change, History
from cluster.simulation.checks.jobs import Jobs
from cluster.simulation.checks.nodes import Nodes
from cluster.simulation.checks.ownership import Ownership
from cluster.simulation.kubelet import Container
from cluster.simulation.nemesis import Fault, Nemesis, plan
from cluster.simulation.users import Users
from cluster.simulation.world import NODE_GRACE_S, World
from raftstore.types import Event

T = TypeVar("T")

FAULTY_S, SETTLE_S, QUIET_S, AGAIN_S = 50.0, 240.0, 10.0, 30.0
MAX_VIOLATIONS = 50
REVISIONS_MIN = 100
"""A cluster that stores next to nothing breaks no promise, and shows none."""
HEARTBEATS = ("coordination.k8s.io/leases/", "events/", "events.k8s.io/")


@dataclass
class Report:
    seed: int
    faults: list[Fault]
    actions: list[str]
    violations: list[str]
    trace_hash: str
    revisions: int
    settled_s: float
    """Virtual seconds from healing until all was as asked for."""

    @property
    def replay(self) -> str:
        return f"scripts/simulate controllers {self.seed}"


def run_seed(seed: int) -> Report:
    """The same seed gives the same trace, in every process with the same PYTHONHASHSEED."""
    unexpected: list[str] = []
    report = deterministic(lambda loop: _run(loop, seed), unexpected)
    report.violations.extend(unexpected)
    return report


def deterministic(
    work: Callable[[VirtualLoop], Coroutine[Any, Any, T]], unexpected: list[str]
) -> T:
    """Run in virtual time; `unexpected` collects exceptions that nobody caught."""
    loop = VirtualLoop()
    loop.set_task_factory(_numbered())
    loop.set_exception_handler(lambda _, context: _note(unexpected, context))
    logging.disable(logging.CRITICAL)
    gc.disable()  # when it finds garbage depends on addresses, and finalizers would show
    try:
        return loop.run_until_complete(work(loop))
    finally:
        logging.disable(logging.NOTSET)
        loop.set_exception_handler(lambda _, context: None)
        loop.close()
        gc.enable()
        gc.collect()


def _numbered() -> Any:
    """Tasks in a set are cancelled in the order of their hashes: let that be their numbers."""

    class Task(asyncio.Task[Any]):
        count = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            Task.count += 1
            self._number = Task.count
            super().__init__(*args, **kwargs)

        def __hash__(self) -> int:
            return self._number

    def make(loop: asyncio.AbstractEventLoop, coro: Any, context: Any = None) -> Any:
        return Task(coro, loop=loop, context=context)

    return make


def _note(unexpected: list[str], context: dict[str, Any]) -> None:
    error = context.get("exception")
    if error is not None:
        where = context.get("task") or context.get("future") or context.get("handle")
        unexpected.append(f"{context['message']}: {error!r} in {where}")


class Simulation:
    """What one run is made of."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop, self.seed = loop, seed
        self.history, self.violations = History(), list[str]()
        self.budgets, self.ownership, self.jobs = Budgets(), Ownership(), Jobs()
        self.sets, self.nodes = statefulsets.StatefulSets(), Nodes(NODE_GRACE_S)
        self.revisions = 0
        self.last_write: tuple[float, str] = (0.0, "")
        self.world = World(loop, seed, self._observe, self._started, self._late)
        client = self.world.client()
        self.users = Users(
            client, seeded_randomness(f"{seed}/users"), self.history,
            self.ownership, client.seams.clock,
        )  # fmt: skip

    def _observe(self, revision: int, events: Sequence[Event], now_s: float) -> None:
        self.revisions = revision
        for change in self.history.changes(revision, events, now_s):
            if not change.key.startswith(HEARTBEATS):
                self.last_write = now_s, change.key
            for text in self._check(change):
                self._violated(f"{now_s:.3f} s, revision {revision}: {text}")
            losses.note(change, self.history)

    def _check(self, change: Change) -> Iterable[str]:
        yield from replicas.check(change, self.history)
        yield from daemonsets.check(change, self.history)
        yield from self.sets.check(change, self.history)
        yield from self.jobs.check(change, self.history)
        yield from self.budgets.check(change, self.history)
        yield from self.ownership.check(change, self.history)
        yield from self.nodes.check(change, self.history)

    def _started(self, node: str, container: Container) -> None:
        forced = self.users.forced
        text = statefulsets.same_identity(node, container, self.world.containers, forced)
        if text is not None and self._is_of_a_set(container.uid):
            self._violated(f"{self.loop.time():.3f} s: {text}")

    def _late(self, term: str) -> None:
        self._violated(f"{self.loop.time():.3f} s: written in a term that was over: {term}")

    def _is_of_a_set(self, uid: str) -> bool:
        references = self.history.by_uid[uid]["metadata"].get("ownerReferences") or ()
        return any(reference["kind"] == "StatefulSet" for reference in references)

    def _violated(self, text: str) -> None:
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(text)

    async def settle(self) -> float:
        """Wait until all is as asked for, and then see that nobody writes any more."""
        healed_s = self.loop.time()
        await self.users.settle()
        again_s = healed_s
        while problems := quiet.unsettled(self.history):
            if self.loop.time() - healed_s > SETTLE_S:
                self.violations += [f"never settled: {text}" for text in problems[:10]]
                return self.loop.time() - healed_s
            await asyncio.sleep(1.0)
            if self.loop.time() - again_s > AGAIN_S:
                again_s = self.loop.time()
                await self.users.settle()
        settled_s = self.loop.time() - healed_s
        await asyncio.sleep(QUIET_S)
        before_s = self.loop.time()
        await asyncio.sleep(QUIET_S)
        at_s, key = self.last_write
        if at_s > before_s:
            self._violated(f"nothing is left to do, and {key} is written at {at_s:.3f} s")
        self.violations += [f"did not stay settled: {t}" for t in quiet.unsettled(self.history)]
        return settled_s


async def _run(loop: VirtualLoop, seed: int) -> Report:
    simulation = Simulation(loop, seed)
    world = simulation.world
    faults = plan(seeded_randomness(f"{seed}/plan"), world, FAULTY_S)
    await world.begin()
    work = asyncio.create_task(simulation.users.run())
    nemesis = Nemesis(world, seeded_randomness(f"{seed}/nemesis"))
    await nemesis.execute(faults)
    await asyncio.sleep(max(0.0, FAULTY_S - loop.time()))
    work.cancel()
    ended = await asyncio.gather(work, return_exceptions=True)
    simulation.violations += [repr(e) for e in ended if isinstance(e, Exception)]
    await nemesis.heal()
    settled_s = await simulation.settle()
    if simulation.revisions < REVISIONS_MIN:
        few = f"only {simulation.revisions} revisions: this run shows nothing"
        simulation.violations.append(few)
    digest = world.trace.digest()
    await world.shut_down()
    return Report(
        seed, faults, simulation.users.done, simulation.violations, digest,
        simulation.revisions, settled_s,
    )  # fmt: skip
