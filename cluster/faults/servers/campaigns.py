"""Campaigns: one kind of fault many times under load, then what must hold. Each gives a figure."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

from actors.seams import system_seams
from actors.seams.randomness import Randomness, seeded_randomness
from cluster.client import Client
from cluster.faults.servers import checker
from cluster.faults.servers.history import WRITES, Call, Watched, Write
from cluster.faults.servers.load import NAMES, NAMESPACE, Load
from cluster.faults.servers.processes import ServerProcesses
from cluster.machinery.status import ApiError
from raftstore.client import StoreClient

Figure = dict[str, Any]
WORKERS, WATCHERS = 6, 3
USER = "chaos-user"
RBAC = "rbac.authorization.k8s.io"
CALL_TIMEOUT_S = 5.0
"""Longer than a pause of one server may last is not needed: the others answer."""
SETTLE_S = 30.0
PREFIX = f"/registry/configmaps/{NAMESPACE}/".encode()


class Scene:
    """Servers under recorded load, while a campaign breaks them."""

    def __init__(self, folder: pathlib.Path, seed: str, members: int = 3) -> None:
        self.servers = ServerProcesses(folder, members=members)
        self.randomness: Randomness = seeded_randomness(seed)
        self._user = self.servers.user(USER)
        self.load = Load(seeded_randomness(f"{seed}/load"), self._any_server)
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: list[Client] = []
        self._first = 0

    def _any_server(self) -> Client:
        return self.servers.client(self._user, timeout_s=CALL_TIMEOUT_S)

    async def play(self, faults: Callable[[Scene], Coroutine[Any, Any, None]]) -> list[str]:
        """What is wrong, in words. Raises TimeoutError if the servers do not recover."""
        try:
            await self._begin()
            playing = asyncio.create_task(faults(self))
            self._tasks.append(playing)
            while not playing.done():
                for task in self._tasks:
                    if task.done():
                        task.result()
                if ended := self.servers.ended():
                    return ended
                await asyncio.wait([playing], timeout=0.1)
            playing.result()
            await self._settle()
            await self._stop_load()
            return checker.check(self.load.calls, await self._truth(), self.load.watched)
        finally:
            await self._stop_load()
            self.servers.stop()

    async def _begin(self) -> None:
        self.servers.store.start()
        self.servers.start()
        await self.servers.ready()
        await _prepare(self.servers, self._user)
        for _ in range(WORKERS):
            self._spawn(self.load.work())
        for _ in range(WATCHERS):
            self._spawn(self.load.watch())
        for name in self.servers.names:
            client = self.servers.client(self._user, name, timeout_s=CALL_TIMEOUT_S)
            self._clients.append(client)
            self._spawn(self.load.read_at(name, client))
        await self.wait(0.5, 1.0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def wait(self, shortest_s: float, longest_s: float) -> None:
        await asyncio.sleep(self.randomness.uniform(shortest_s, longest_s))

    async def _settle(self) -> None:
        """Until every watcher has seen all that was acknowledged by now."""
        goal = max(call.revision for call in self.load.calls if call.outcome == "ok")
        async with asyncio.timeout(SETTLE_S):
            for watched in self.load.watched:
                await self._reached(watched, goal)

    async def _reached(self, watched: Watched, goal: int) -> None:
        while True:
            if watched.reached >= goal:
                return
            await asyncio.sleep(0.05)

    async def _stop_load(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            await client.close()

    async def _truth(self) -> list[Write]:
        """Every revision, from the store itself."""
        store = StoreClient(self.servers.store.endpoints)
        await store.start(system_seams())
        try:
            newest = (await store.range(b"\0", count_only=True)).revision
            return await asyncio.wait_for(_history(store, newest), SETTLE_S)
        finally:
            await store.stop()

    # ---- figures

    def figure(self, name: str, times: int, found: list[str], **facts: Any) -> Figure:
        calls = self.load.calls
        free = [call for call in calls if not call.server]
        return {
            "figure": name,
            "times": times,
            "requests": len(calls),
            "acknowledged_writes": sum(c.outcome == "ok" and c.verb in WRITES for c in calls),
            "unknown_writes": sum(c.outcome == "unknown" for c in calls),
            "failed_requests": sum(c.outcome == "failed" for c in calls),
            "lists_at_one_server": sum(c.outcome == "ok" and bool(c.server) for c in calls),
            "watch_events": sum(len(watched.seen) for watched in self.load.watched),
            "watch_streams": sum(watched.streams for watched in self.load.watched),
            "longest_request_s": round(max(map(_took_s, free), default=0.0), 2),
            "longest_gap_s": round(_longest_gap_s(free), 2),
            **facts,
            "violations": found,
        }


async def _prepare(servers: ServerProcesses, user: dict[str, str]) -> None:
    """The namespace, and a user who may use it: RBAC is part of what is tested."""
    admin = servers.admin()
    await admin.create("namespaces", {"metadata": {"name": NAMESPACE}})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
    role = {"metadata": {"name": USER}, "rules": rules}
    await admin.create(f"roles.{RBAC}", role, NAMESPACE)
    reference = {"apiGroup": RBAC, "kind": "Role", "name": USER}
    subject = {"apiGroup": RBAC, "kind": "User", "name": USER}
    binding = {"metadata": {"name": USER}, "roleRef": reference, "subjects": [subject]}
    await admin.create(f"rolebindings.{RBAC}", binding, NAMESPACE)
    await admin.close()
    for name in servers.names:
        client = servers.client(user, name)
        await _may_list(client)
        await client.close()


async def _may_list(client: Client) -> None:
    """Until a server knows the user's rights."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            try:
                await client.list("configmaps", NAMESPACE)
                return
            except ApiError as error:
                if error.reason != "Forbidden":
                    raise
            await asyncio.sleep(0.05)


async def _history(store: StoreClient, newest: int) -> list[Write]:
    writes: list[Write] = []
    async for batch in store.watch(b"\0", b"\0", start_revision=2):
        for event in batch.events:
            if not event.kv.key.startswith(PREFIX):
                continue
            name = event.kv.key.removeprefix(PREFIX).decode()
            if name in NAMES:
                value = json.loads(event.kv.value)["data"]["value"] if event.type == "put" else None
                writes.append(Write(event.kv.mod_revision, name, value))
        if batch.revision >= newest:
            break
    return writes


def _took_s(call: Call) -> float:
    return 0.0 if call.outcome == "open" else call.returned_s - call.invoked_s


def _longest_gap_s(calls: list[Call]) -> float:
    """Between answers, of all clients together."""
    moments = sorted(call.returned_s for call in calls if call.outcome in ("ok", "refused"))
    return max((b - a for a, b in pairwise(moments)), default=0.0)


# ---- the campaigns


async def kills(folder: pathlib.Path, seed: str, times: int, members: int = 3) -> Figure:
    """SIGKILL of a server under load; it is started again."""
    ready_s: list[float] = []

    async def faults(scene: Scene) -> None:
        for _ in range(times):
            name = scene.randomness.choice(scene.servers.names)
            scene.servers.kill(name)
            await scene.wait(0.1, 1.5)
            scene.servers.start(name)
            ready_s.append(await scene.servers.ready(name))
            await scene.wait(0.2, 1.0)

    scene = Scene(folder, seed, members)
    found = await scene.play(faults)
    return scene.figure("server killed", times, found, ready_again_s=_spread(ready_s))


async def pauses(folder: pathlib.Path, seed: str, times: int, members: int = 3) -> Figure:
    """SIGSTOP of a server for a while: it goes on unaware of what it missed."""

    async def faults(scene: Scene) -> None:
        for _ in range(times):
            name = scene.randomness.choice(scene.servers.names)
            scene.servers.pause(name)
            await scene.wait(0.3, 6.0)
            scene.servers.resume(name)
            await scene.wait(0.2, 1.5)

    scene = Scene(folder, seed, members)
    return scene.figure("server paused", times, await scene.play(faults))


async def restarts(folder: pathlib.Path, seed: str, times: int, members: int = 3) -> Figure:
    """Servers end in order, one after the other: nobody notices, no outcome is unknown."""
    stopped_s: list[float] = []
    ready_s: list[float] = []
    misled: list[str] = []

    async def faults(scene: Scene) -> None:
        for number in range(times):
            name = scene.servers.names[number % len(scene.servers.names)]
            stopped_s.append(await scene.servers.terminate(name))
            if name in await scene.servers.endpoints():
                misled.append(f"the endpoints of `kubernetes` name {name}, which has ended")
            scene.servers.start(name)
            ready_s.append(await scene.servers.ready(name))
            await scene.wait(0.2, 1.0)
        if await scene.servers.endpoints() != set(scene.servers.names):
            misled.append("the endpoints of `kubernetes` do not name all servers")

    scene = Scene(folder, seed, members)
    found = await scene.play(faults) + misled
    found += [
        f"{call.verb} {call.name} has an unknown outcome: {call.detail}"
        for call in scene.load.calls
        if call.outcome == "unknown"
    ]
    spreads = {"stopped_s": _spread(stopped_s), "ready_again_s": _spread(ready_s)}
    return scene.figure("server restarted", times, found, **spreads)


async def mixed(folder: pathlib.Path, seed: str, times: int, members: int = 3) -> Figure:
    """Two of three servers at once, each in its own way."""

    async def faults(scene: Scene) -> None:
        for _ in range(times):
            first, second = scene.randomness.sample(scene.servers.names, 2)
            await asyncio.gather(_break(scene, first), _break(scene, second))
            await scene.servers.ready()
            await scene.wait(0.2, 1.0)

    scene = Scene(folder, seed, members)
    return scene.figure("two servers broken", times, await scene.play(faults))


async def _break(scene: Scene, name: str) -> None:
    await scene.wait(0.0, 0.5)
    way = scene.randomness.choice(("kill", "pause", "restart"))
    if way == "pause":
        scene.servers.pause(name)
    elif way == "kill":
        scene.servers.kill(name)
    else:
        await scene.servers.terminate(name)
    await scene.wait(0.2, 3.0)
    if way == "pause":
        scene.servers.resume(name)
    else:
        scene.servers.start(name)


def _spread(values_s: list[float]) -> dict[str, float]:
    ordered = sorted(values_s) or [0.0]
    return {
        "median": round(ordered[len(ordered) // 2], 2),
        "max": round(ordered[-1], 2),
    }
