"""The component: as many simulated nodes as there are Nodes with its label."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from actors.component import Config, Health
from actors.seams import Seams
from cluster.client import Client, ClientConfig, Informer
from cluster.kubelet.authorization import DelegatedAuthorization
from cluster.kubelet.server import anybody
from cluster.kubelet.simulated.behaviour import Rule
from cluster.kubelet.simulated.heartbeats import Heartbeats, Periods
from cluster.kubelet.simulated.nodes import FLEET
from cluster.kubelet.simulated.parsing import BehaviourError, rules
from cluster.kubelet.simulated.pods import Pods
from cluster.kubelet.simulated.server import SimulatedServer

Object = dict[str, Any]

log = logging.getLogger(__name__)

RULES_NAMESPACE, RULES_NAME, RULES_KEY = "kube-system", "simulated-nodes", "behaviours.yaml"
"""The ConfigMap with the behaviours of pods; what it says holds at once."""


class Fleet:
    """Config: name (the label's value), client, address (host), port, tls; optionally lease_s (40)
    and status_s (300). Heartbeats have connections of their own, so that pods do not hold them up.
    """

    def __init__(self) -> None:
        self._stops: list[Callable[[], Awaitable[None]]] = []
        self._rules: tuple[Rule, ...] = ()
        self._begun = False
        self._failure = ""
        self.address: str | None = None

    async def start(self, seams: Seams, config: Config) -> None:
        self._name: str = config["name"]
        client, beating = (self._client(seams, config) for _ in range(2))
        self._nodes = Informer(client, "nodes", label_selector=f"{FLEET}={self._name}")
        host = config["address"]
        self._pods = Pods(client, seams, self._nodes, host, lambda: self._rules)
        tls = config.get("tls") or {}
        may = DelegatedAuthorization(client, seams, self._name).may if tls else anybody
        server = SimulatedServer(seams, self._pods, may)
        self._stops += [self._nodes.stop, self._pods.stop, server.stop]
        await server.start(host, int(config.get("port", 0)), tls)
        self.address = f"{host}:{server.port}"
        periods = Periods(
            float(config.get("lease_s", Periods.lease_s)),
            float(config.get("status_s", Periods.status_s)),
        )
        self._beats = Heartbeats(beating, seams, self._nodes, (host, server.port), periods)
        self._stops.append(self._beats.stop)
        self._configured = Informer(
            client, "configmaps", RULES_NAMESPACE, field_selector=f"metadata.name={RULES_NAME}"
        )
        self._stops.append(self._configured.stop)
        self._task = asyncio.create_task(self._begin(), name=f"fleet {self._name}")

    def _client(self, seams: Seams, config: Config) -> Client:
        client = Client(ClientConfig.from_dict(config["client"]), seams, f"fleet/{self._name}")
        self._stops.append(client.close)
        return client

    async def _begin(self) -> None:
        """Pods are touched once the API has said which there are, and what is said of them."""
        for informer in (self._nodes, self._pods.informer, self._configured):
            informer.start()
        for informer in (self._nodes, self._pods.informer, self._configured):
            await informer.synced()
        self._configured.subscribe(self._configure)
        self._pods.start()
        self._beats.start()
        self._begun = True

    def _configure(self, kind: str, old: Object | None, new: Object | None) -> None:
        text = ((new or {}).get("data") or {}).get(RULES_KEY, "")
        try:
            self._rules, self._failure = rules(text), ""
        except BehaviourError as error:  # what held before goes on
            self._failure = f"ConfigMap {RULES_NAMESPACE}/{RULES_NAME}: {error}"
            log.warning("%s", self._failure)
        self._pods.look_again()

    async def stop(self) -> None:
        """Nothing ends: the next fleet of this name goes on from what the API knows."""
        if task := getattr(self, "_task", None):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for stop in reversed(self._stops):
            await stop()

    async def health(self) -> Health:
        if not self._begun:
            return Health(False, "waiting for the API server")
        facts = {"nodes": len(self._nodes.list()), "pods": len(self._pods)}
        return Health(True, self._failure, facts | {"reported_ready": self._beats.ready})
