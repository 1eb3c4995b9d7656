"""The machines of one seed and what runs on them: real components over simulated seams."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.seams import Seams
from actors.seams.randomness import seeded_randomness
from actors.simulation.loop import VirtualLoop
from actors.simulation.machine import Machine
from actors.simulation.network import Fabric
from actors.simulation.trace import Trace
from cluster.apiserver.server import ApiServer
from cluster.client import Client, ClientConfig
from cluster.controllers.manager import ControllerManager
from cluster.scheduler.scheduler import Scheduler
from cluster.simulation.certificate import always_the_same
from cluster.simulation.kubelet import Container, Containers, Kubelet
from cluster.simulation.store import Link, ObservedStore, RemoteStore
from raftstore.types import Event

ELECTION = {"lease_s": 5.0, "renew_s": 3.5, "retry_s": 0.7}
NODE_GRACE_S, TOLERATION_S = 8.0, 5
ADMIN = "admin"
SHUT_DOWN_ROUNDS = 60
Observer = Callable[[int, Sequence[Event], float], None]


def _write_files(folder: str) -> dict[str, str]:
    """A certificate that no simulated link shows to anybody, and the administrator's token."""
    certificate, key = always_the_same("simulation")
    parts = {"ca": certificate, "cert": certificate, "key": key}
    parts["tokens"] = f'{ADMIN},admin,1,"system:masters"\n'.encode()
    for name, data in parts.items():
        Path(folder, name).write_bytes(data)
    return {name: str(Path(folder, name)) for name in parts}


class World:
    """`observer` is told of every revision; `started` of every container that begins to run, and
    `late` of every write of a leader whose term was over."""

    def __init__(
        self, loop: VirtualLoop, seed: int, observer: Observer, started: Callable[..., None],
        late: Callable[[str], None], *, servers: int = 2, managers: int = 2, nodes: int = 4,
    ) -> None:  # fmt: skip
        self.loop, self.seed, self.trace = loop, seed, Trace()
        self.fabric = Fabric(loop, seeded_randomness(f"{seed}/network"), self.trace)
        self.store = ObservedStore(self._observed, late)
        self._observer, self._started = observer, started
        self.servers = [f"api-{number}" for number in range(servers)]
        self.managers = [f"manager-{number}" for number in range(managers)]
        self.schedulers = ["scheduler-0"]
        self.nodes = [f"node-{number}" for number in range(nodes)]
        self.links = {name: Link() for name in self.servers}
        self.containers: dict[str, Containers] = {name: {} for name in self.nodes}
        names = [*self.servers, *self.managers, *self.schedulers, *self.nodes, "user"]
        self.machines = {name: Machine(name, self.fabric, str(seed)) for name in names}
        self.when_pods_change: list[Callable[[], None]] = []
        """Called once each, in the middle of what a controller does."""
        self._running: list[Any] = []
        self._folder = tempfile.TemporaryDirectory(prefix="raykube-simulation-")
        self._files = _write_files(self._folder.name)

    @property
    def client_config(self) -> dict[str, Any]:
        return {"servers": [f"http://{name}:1" for name in self.servers], "token": ADMIN}

    def _observed(self, revision: int, events: Sequence[Event]) -> None:
        for event in events:
            self.trace.add(self.loop.time(), "store", revision, event.type, event.kv.key)
        self._observer(revision, events, self.loop.time())
        if any(event.kv.key.startswith(b"/registry/pods/") for event in events):
            waiting, self.when_pods_change = self.when_pods_change, []
            for call in waiting:
                call()

    async def begin(self) -> None:
        for name in (*self.servers, *self.schedulers, *self.managers, *self.nodes):
            await self.start(name)

    async def start(self, name: str) -> None:
        """Boot a machine with what belongs on it."""
        seams = self.machines[name].boot()
        kind = name.partition("-")[0]
        await {
            "api": self._start_server, "manager": self._start_manager,
            "scheduler": self._start_scheduler, "node": self._start_node,
        }[kind](name, seams)  # fmt: skip

    def kill(self, name: str) -> None:
        """End its process; what runs on a node goes on."""
        self.machines[name].kill(power_loss=False)

    def power_off(self, name: str) -> None:
        self.machines[name].kill(power_loss=True)
        if name in self.containers:
            self.containers[name].clear()

    def is_up(self, name: str) -> bool:
        return self.machines[name].process is not None

    def client(self, name: str = "user") -> Client:
        config = ClientConfig.from_dict(self.client_config)
        return Client(config, self.machines[name].boot(), name, timeout_s=8.0)

    async def _start_server(self, name: str, seams: Seams) -> None:
        server = ApiServer(RemoteStore(self.store, seams, self.links[name]))
        files = self._files
        number = self.servers.index(name)
        config: dict[str, Any] = {
            "name": name, "address": f"{name}:1", "advertise_address": f"10.0.0.{number + 1}",
            "store": [], "store_tls": None, "service_cidr": "10.96.0.0/16",
            "tls": {part: files[part] for part in ("ca", "cert", "key")},
            "token_file": files["tokens"], "default_toleration_s": TOLERATION_S,
            "kubelet_tls": {part: files[part] for part in ("ca", "cert", "key")},
        }  # fmt: skip
        await server.start(seams, config)
        self._running.append(server)

    async def _start_manager(self, name: str, seams: Seams) -> None:
        manager = ControllerManager()
        config = {
            "name": name, "client": self.client_config, "election": ELECTION,
            "node_grace_s": NODE_GRACE_S, "gone_node_grace_s": 10.0,
        }  # fmt: skip
        await manager.start(seams, config)
        self._running.append(manager)

    async def _start_scheduler(self, name: str, seams: Seams) -> None:
        scheduler = Scheduler()
        config = {"name": name, "client": self.client_config, "election": ELECTION}
        await scheduler.start(seams, config)
        self._running.append(scheduler)

    async def _start_node(self, name: str, seams: Seams) -> None:
        kubelet = Kubelet(name, self.containers[name], self._began)
        await kubelet.start(seams, ClientConfig.from_dict(self.client_config))
        self._running.append(kubelet)

    def _began(self, node: str, container: Container) -> None:
        self._started(node, container)

    async def shut_down(self) -> None:
        """Nothing that is left may act any more, whenever it is collected.

        What a task does when it is cancelled may wait for what never comes: cancelled again.
        """
        for process in self.fabric.processes:
            process.kill()
        for _ in range(SHUT_DOWN_ROUNDS):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
        self._folder.cleanup()
