"""The component: scrapes, serves, registers itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from actors.component import Config, Health
from actors.seams import Seams
from actors.tls import server_context
from cluster.apiserver.http.listener import HttpListener
from cluster.client import Client, ClientConfig
from cluster.machinery import meta
from cluster.metrics import registration
from cluster.metrics.api import MetricsApi
from cluster.metrics.delegation import Delegation
from cluster.metrics.samples import Samples
from cluster.metrics.scraper import Scraper

RESOLUTION_S = 15.0


class MetricsServer:
    """Config: `name`, `address` (host:port), `client`, `tls` (serving; names must hold
    `registration.HOST`), `request_header` (the front proxies' `ca`, `allowed_names`),
    `resolution_s` (15). Kubelets are shown the client's certificate.
    """

    def __init__(self) -> None:
        self._address: str | None = None
        self._registering: asyncio.Task[None] | None = None

    @property
    def address(self) -> str | None:
        """`host:port`, once started."""
        return self._address

    async def start(self, seams: Seams, config: Config) -> None:
        own = ClientConfig.from_dict(config["client"])
        self._client = Client(own, seams, "metrics-server")
        self._samples = Samples()
        shown = own.tls()
        if shown is None:
            raise ValueError("the metrics server reaches the API server over https only")
        resolution_s = float(config.get("resolution_s") or RESOLUTION_S)
        self._scraper = Scraper(self._client, seams, shown, self._samples, resolution_s)
        delegation = Delegation(self._client, seams, config["request_header"])
        self._api = MetricsApi(self._client, seams, delegation, self._samples)
        host, _, port = str(config["address"]).rpartition(":")
        tls = server_context(config["tls"], require_client=False)
        tls.load_verify_locations(config["request_header"]["ca"])
        self._listener = HttpListener(seams, self._api.handle)
        await self._listener.start(host, int(port), tls)
        self._address = f"{host}:{self._listener.port}"
        self._scraper.start()
        ca = await asyncio.to_thread(Path(config["tls"]["ca"]).read_bytes)
        started = meta.format_micro_time(seams.clock.wall())
        wanted = registration.objects(host, self._listener.port, ca, started)
        keeping = registration.keep(self._client, seams, wanted)
        self._registering = asyncio.get_running_loop().create_task(keeping)

    async def health(self) -> Health:
        """Ready once the API has found it."""
        facts = {"nodes": self._scraper.nodes, "scrapes": self._scraper.rounds}
        detail = "" if self._api.found else "metrics: not registered yet"
        return Health(self._api.found, detail, facts)

    async def stop(self) -> None:
        if self._registering is None:
            return
        self._registering.cancel()
        await asyncio.gather(self._registering, return_exceptions=True)
        await self._scraper.stop()
        await self._listener.stop()
        await self._client.close()
