"""The controller manager: one of several replicas leads and runs the controllers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from actors.component import Config, Health
from actors.seams import Seams
from cluster.client import Client, ClientConfig, LeaderElector
from cluster.controllers.deployment import DeploymentController
from cluster.controllers.endpoints import EndpointsController
from cluster.controllers.endpointslice import EndpointSliceController
from cluster.controllers.framework import Context, Controller, Runner
from cluster.controllers.garbage_collector import GarbageCollector
from cluster.controllers.informers import Informers
from cluster.controllers.namespace import NamespaceController
from cluster.controllers.node_lifecycle import NodeLifecycleController
from cluster.controllers.pod_gc import PodGarbageCollector
from cluster.controllers.replicaset import ReplicaSetController
from cluster.controllers.root_ca import RootCaPublisher
from cluster.controllers.serviceaccount import ServiceAccountController
from cluster.controllers.taint_eviction import TaintEvictionController

log = logging.getLogger(__name__)

CONTROLLERS: tuple[type[Controller], ...] = (
    DeploymentController,
    EndpointSliceController,
    EndpointsController,
    GarbageCollector,
    NamespaceController,
    NodeLifecycleController,
    PodGarbageCollector,
    ReplicaSetController,
    RootCaPublisher,
    ServiceAccountController,
    TaintEvictionController,
)


def chosen(names: Iterable[str]) -> list[type[Controller]]:
    """As `--controllers`: "*" is all, "-NAME" leaves one out. Raises ValueError for others."""
    wanted = set(names)
    known = {kind.name for kind in CONTROLLERS}
    if unknown := {name.removeprefix("-") for name in wanted} - known - {"*"}:
        raise ValueError(f"unknown controllers: {', '.join(sorted(unknown))}")
    every = "*" in wanted
    return [
        kind
        for kind in CONTROLLERS
        if f"-{kind.name}" not in wanted and (every or kind.name in wanted)
    ]


class ControllerManager:
    """Config: name, client, election, controllers, node_grace_s, eviction_toleration_s, root_ca
    (PEM; by default the client's CA)."""

    address: str | None = None

    def __init__(self) -> None:
        self._client: Client | None = None
        self._elector: LeaderElector | None = None
        self._task: asyncio.Task[None] | None = None
        self._running: list[Controller] = []

    async def start(self, seams: Seams, config: Config) -> None:
        client = ClientConfig.from_dict(config["client"])
        self._seams = seams
        self._kinds = chosen(config.get("controllers") or ["*"])
        self._config = {**config, "root_ca": config.get("root_ca") or _bundle(client)}
        if not self._config["root_ca"]:
            self._kinds = [kind for kind in self._kinds if kind is not RootCaPublisher]
        self._client = Client(client, seams, "kube-controller-manager")
        self._elector = elector(self._client, seams, "kube-controller-manager", config)
        self._task = asyncio.create_task(self._elector.run(self._lead), name="controllers")

    async def stop(self) -> None:
        """Stop the controllers, then release the lease so that another replica leads at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._client is not None:
            await self._client.close()

    async def health(self) -> Health:
        if self._task is None or self._elector is None:
            return Health(False, "not started")
        if self._task.done():
            return Health(False, f"ended: {_reason(self._task)}", failed=True)
        facts = {"leader": self._elector.leading, "controllers": self._metrics()}
        return Health(True, "leads" if self._elector.leading else "stands by", facts)

    def _metrics(self) -> Mapping[str, Any]:
        return {
            controller.name: {**vars(controller.metrics), "queued": len(controller.queue)}
            for controller in self._running
        }

    async def _lead(self) -> None:
        """With informers of its own term: a new leader must not decide on an old view."""
        assert self._client is not None
        informers = Informers(self._client)
        context = Context(self._client, self._seams, informers, self._config)
        self._running = [kind(context) for kind in self._kinds]
        try:
            async with asyncio.TaskGroup() as group:
                for controller in self._running:
                    group.create_task(Runner(controller).run(), name=controller.name)
        finally:
            self._running = []
            await informers.stop()


def elector(client: Client, seams: Seams, name: str, config: Config) -> LeaderElector:
    """An elector on kube-system/NAME from the `election` part of a config."""
    election = {"lease_s": 15.0, "renew_s": 10.0, "retry_s": 2.0, **(config.get("election") or {})}
    identity = f"{config['name']}_{seams.randomness.randbytes(8).hex()}"
    return LeaderElector(client, seams, name, identity, **election)


def _bundle(config: ClientConfig) -> str:
    if not config.ca or config.ca.lstrip().startswith("-----BEGIN"):
        return config.ca
    return Path(config.ca).read_text()


def _reason(task: asyncio.Task[None]) -> str:
    return "cancelled" if task.cancelled() else repr(task.exception())
