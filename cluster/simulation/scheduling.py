"""One seed of schedulers alone: several are active at once, are killed, paused and cut off.

No node may be given more than it has, and no pod two nodes, at any revision; and when all is well
again, no pod may be left waiting that fits somewhere. Two schedulers compete for one lease, a
third has its own, so that two are always active on the same pods and nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.seams import Seams
from actors.seams.randomness import Randomness, seeded_randomness
from actors.simulation.loop import VirtualLoop
from actors.simulation.machine import Machine
from cluster.client import Client, ClientError
from cluster.machinery import quantity
from cluster.machinery.status import ApiError
from cluster.scheduler.plugins.profiles import API_VERSION, KIND
from cluster.scheduler.scheduler import Scheduler
from cluster.simulation.checks.history import Change, History
from cluster.simulation.nemesis import Fault, Nemesis
from cluster.simulation.run import MAX_VIOLATIONS, deterministic
from cluster.simulation.world import ELECTION, World
from raftstore.types import Event

Object = dict[str, Any]
NODES, NODE_CPU = 5, 4000
FAULTY_S, SETTLED_S = 40.0, 45.0
SIZES = ("300m", "500m", "1", "1500m")
KINDS = ("kill", "pause", "cut_off", "reset")
SERVER_KINDS = ("kill", "store_lag", "store_loss", "store_cut", "reset", "pause")


@dataclass
class Ledger:
    """What is on each node, by the API alone. `check` tells of what must never be."""

    cpu: dict[str, dict[str, int]] = field(default_factory=dict)
    bindings: int = 0

    def check(self, change: Change) -> Iterator[str]:
        if change.kind != "Pod":
            return
        before, after = _node(change.old), _node(change.new)
        if before and after != before and change.new is not None:
            yield f"{change.key} moved from {before} to {after or 'nowhere'}"
        if before:
            self.cpu.get(before, {}).pop(change.obj["metadata"]["uid"], None)
        if after and change.new is not None:
            taken = self.cpu.setdefault(after, {})
            taken[change.obj["metadata"]["uid"]] = _cpu(change.new)
            if not before:
                self.bindings += 1
                if sum(taken.values()) > NODE_CPU:
                    yield f"{after} has {sum(taken.values())}m of {NODE_CPU}m after {change.key}"


def _node(pod: Object | None) -> str:
    return str((pod or {}).get("spec", {}).get("nodeName") or "")


def _cpu(pod: Object) -> int:
    return quantity.milli(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"])


class SchedulingWorld(World):
    """Three schedulers, and nodes that are objects only."""

    def __init__(
        self, loop: VirtualLoop, seed: int, observer: Any, late: Callable[[str], None]
    ) -> None:
        super().__init__(loop, seed, observer, lambda *_: None, late, managers=0, nodes=0)
        self.schedulers = [f"scheduler-{number}" for number in range(3)]
        for name in self.schedulers:
            self.machines.setdefault(name, Machine(name, self.fabric, str(seed)))

    async def _start_scheduler(self, name: str, seams: Seams) -> None:
        scheduler = Scheduler()
        own = "other-scheduler" if name.endswith("2") else "kube-scheduler"
        configuration = {
            "apiVersion": API_VERSION, "kind": KIND, "leaderElection": {"resourceName": own},
        }  # fmt: skip
        config = {
            "name": name, "client": self.client_config, "election": ELECTION,
            "configuration": configuration,
        }  # fmt: skip
        await scheduler.start(seams, config)
        self._running.append(scheduler)


class Users:
    """Pods come and go, also at once in numbers; nodes are removed and added again."""

    def __init__(self, client: Client, randomness: Randomness, history: History) -> None:
        self._client, self._random, self._history = client, randomness, history
        self._made = 0

    async def begin(self) -> None:
        for number in range(NODES):
            await self._surely("nodes", _node_object(number))

    async def run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._change())
                group.create_task(self.reap())

    async def _change(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / 0.7))
            step = self._random.choice(
                [self._more, self._more, self._less, self._less, self._nodes]
            )
            with contextlib.suppress(ApiError, ClientError):
                await step()

    async def _more(self) -> None:
        for _ in range(self._random.randint(1, 12)):
            self._made += 1
            pod = _pod_object(self._made, self._random)
            await self._client.create("pods", pod)

    async def _less(self) -> None:
        pods = [p for p in self._history.kinds("Pod") if _node(p)]
        for pod in self._random.sample(pods, min(len(pods), self._random.randint(1, 6))):
            name = pod["metadata"]["name"]
            await self._client.delete("pods", name, "default", grace_period_s=0)

    async def _nodes(self) -> None:
        number = self._random.randrange(NODES)
        await self._client.delete("nodes", f"node-{number}")
        await asyncio.sleep(self._random.uniform(0.0, 3.0))
        await self._surely("nodes", _node_object(number))

    async def _surely(self, resource: str, obj: Object) -> None:
        while True:
            try:
                await self._client.create(resource, obj)
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    return
            except ClientError:
                pass
            else:
                return
            await asyncio.sleep(0.2)

    async def reap(self) -> None:
        """In place of kubelets: pods that are being deleted go after a while."""
        while True:
            await asyncio.sleep(0.5)
            for pod in self._history.kinds("Pod"):
                if pod["metadata"].get("deletionTimestamp"):
                    with contextlib.suppress(ApiError, ClientError):
                        name = pod["metadata"]["name"]
                        await self._client.delete("pods", name, "default", grace_period_s=0)

    async def all_nodes(self) -> None:
        for number in range(NODES):
            await self._surely("nodes", _node_object(number))


def _node_object(number: int) -> Object:
    amounts = {"cpu": f"{NODE_CPU}m", "memory": "32Gi", "pods": "110"}
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}"},
        "status": {"allocatable": amounts, "capacity": amounts},
    }  # fmt: skip


def _pod_object(number: int, randomness: Randomness) -> Object:
    requests = {"cpu": randomness.choice(SIZES)}
    container = {"name": "c", "image": "i", "resources": {"requests": requests}}
    spec: Object = {"containers": [container], "terminationGracePeriodSeconds": 1}
    spec["tolerations"] = [{"operator": "Exists"}]  # Nobody says that the nodes are ready.
    if randomness.random() < 0.1:
        spec["priorityClassName"] = "system-cluster-critical"
    metadata = {"name": f"pod-{number}", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@dataclass
class Report:
    seed: int
    faults: list[Fault]
    violations: list[str]
    bindings: int
    trace_hash: str

    @property
    def replay(self) -> str:
        return f"scripts/simulate scheduler {self.seed}"


def run_seed(seed: int) -> Report:
    """The same seed gives the same trace, in every process with the same PYTHONHASHSEED."""
    unexpected: list[str] = []
    report = deterministic(lambda loop: _run(loop, seed), unexpected)
    report.violations.extend(unexpected)
    return report


async def _run(loop: VirtualLoop, seed: int) -> Report:
    history, ledger, violations = History(), Ledger(), list[str]()

    def observe(revision: int, events: Sequence[Event], now_s: float) -> None:
        for change in history.changes(revision, events, now_s):
            for text in ledger.check(change):
                violations.append(f"{now_s:.3f} s, revision {revision}: {text}")

    def late(term: str) -> None:
        violations.append(f"{loop.time():.3f} s: written in a term that was over: {term}")

    world = SchedulingWorld(loop, seed, observe, late)
    await world.begin()
    users = Users(world.client(), seeded_randomness(f"{seed}/users"), history)
    await users.begin()
    work = asyncio.create_task(users.run())
    nemesis = Nemesis(world, seeded_randomness(f"{seed}/nemesis"))
    faults = _plan(seeded_randomness(f"{seed}/plan"), world)
    await nemesis.execute(faults)
    await asyncio.sleep(max(0.0, FAULTY_S - loop.time()))
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await nemesis.heal()
    await users.all_nodes()
    reaping = asyncio.create_task(users.reap())
    await asyncio.sleep(SETTLED_S)
    reaping.cancel()
    violations += [*_left(history, ledger)][:MAX_VIOLATIONS]
    digest = world.trace.digest()
    await world.shut_down()
    return Report(seed, faults, violations, ledger.bindings, digest)


def _plan(randomness: Randomness, world: World) -> list[Fault]:
    faults, at_s = [], randomness.uniform(2.0, 6.0)
    pace_s = randomness.choice([1.0, 2.5, 6.0])
    while at_s < FAULTY_S:
        servers = randomness.random() < 0.3
        target = randomness.choice(world.servers if servers else world.schedulers)
        kind = randomness.choice(SERVER_KINDS if servers else KINDS)
        lasts_s = min(randomness.uniform(0.2, 10.0), FAULTY_S - at_s)
        faults.append(Fault(at_s, kind, target, lasts_s))
        at_s += randomness.expovariate(1 / pace_s)
    return faults


def _left(history: History, ledger: Ledger) -> Iterator[str]:
    """Pods that wait although there is room for them."""
    nodes = [node["metadata"]["name"] for node in history.kinds("Node")]
    free = {n: NODE_CPU - sum(ledger.cpu.get(n, {}).values()) for n in nodes}
    for pod in history.kinds("Pod"):
        going = pod["metadata"].get("deletionTimestamp")
        if not _node(pod) and not going and _cpu(pod) <= max(free.values()):
            yield f"{pod['metadata']['name']} waits, and a node has {max(free.values())}m free"
