"""The kube-proxy component: follows Services and EndpointSlices and keeps the rules in force."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from actors.component import Config, Health
from actors.seams import Seams
from cluster.client import Client, ClientConfig, EventRecorder, Informer
from cluster.proxy import rules
from cluster.proxy.rules import Frontend, Rule
from cluster.proxy.userspace import UserspaceProxy

log = logging.getLogger(__name__)

_QUIET_S = 0.02
_RETRY_S = 30.0


class Proxy:
    """Config: `{node_name, client, mode: "userspace", max_connections}`."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._informers: list[Informer] = []
        self._task: asyncio.Task[None] | None = None
        self._failed: dict[Frontend, OSError] = {}
        self._applied = False

    @property
    def address(self) -> str | None:
        return None

    async def start(self, seams: Seams, config: Config) -> None:
        if config.get("mode", "userspace") != "userspace":
            raise ValueError(f"unknown proxy mode {config['mode']!r}: only 'userspace' so far")
        self._seams = seams
        self._node_name: str = config["node_name"]
        connections_max = int(config.get("max_connections", 4096))
        self._proxy = UserspaceProxy(seams, connections_max=connections_max)
        settings = ClientConfig.from_dict(config["client"])
        self._client = Client(settings, seams, f"kube-proxy/{self._node_name}")
        self._events = EventRecorder(self._client, seams, "kube-proxy", self._node_name)
        self._events.start()
        self._services = Informer(self._client, "services")
        self._slices = Informer(self._client, "endpointslices.discovery.k8s.io")
        name = f"metadata.name={self._node_name}"
        self._nodes = Informer(self._client, "nodes", field_selector=name)
        self._informers = [self._services, self._slices, self._nodes]
        for informer in self._informers:
            informer.subscribe(self._on_change)
            informer.start()
        self._task = asyncio.create_task(self._run(), name="proxy rules")

    def _on_change(self, _kind: str, old: Any, new: Any) -> None:
        """A node's own heartbeat changes nothing here."""
        if (new or old).get("kind") != "Node" or _internal_ip(old) != _internal_ip(new):
            self._changed.set()

    async def _run(self) -> None:
        for informer in (self._services, self._slices):
            await informer.synced()
        while True:
            self._changed.clear()
            await self._apply()
            timeout_s = _RETRY_S if self._failed else None
            try:
                await asyncio.wait_for(self._changed.wait(), timeout_s)
            except TimeoutError:
                continue
            await self._seams.clock.sleep(_QUIET_S)  # changes come in bursts

    async def _apply(self) -> None:
        node = self._nodes.get(self._node_name)
        wanted = rules.build(
            self._services.list(), self._slices.list(), self._node_name, _internal_ip(node)
        )
        failed = await self._proxy.apply(wanted)
        self._report(wanted, failed)
        self._failed = failed
        self._applied = True

    def _report(self, wanted: Mapping[Frontend, Rule], failed: Mapping[Frontend, OSError]) -> None:
        for frontend, error in failed.items():
            if frontend in self._failed:
                continue
            where = f"{frontend.host}:{frontend.port}/{frontend.protocol}"
            message = f"node {self._node_name} cannot listen on {where}: {error}"
            log.warning(message)
            service = self._services.get(wanted[frontend].service)
            if service is not None:
                subject = {"kind": "Service", "apiVersion": "v1"} | service
                self._events.event(subject, "Warning", "FailedToBindPort", message)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for informer in self._informers:
            await informer.stop()
        if self._informers:
            await self._events.stop()
            await self._proxy.stop()
            await self._client.close()

    async def health(self) -> Health:
        detail = "" if self._applied else "waiting for the API server"
        facts = {"rules": len(self._proxy.frontends), "not_bound": len(self._failed)}
        return Health(self._applied, detail, facts)


def _internal_ip(node: Any) -> str:
    addresses = ((node or {}).get("status") or {}).get("addresses") or ()
    return next((str(a["address"]) for a in addresses if a["type"] == "InternalIP"), "")
