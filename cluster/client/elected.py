"""A component of which one of several replicas leads and does the work, the others stand by."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from actors.component import Config, Health
from actors.seams import Seams
from cluster.client.config import ClientConfig
from cluster.client.leader_election import LeaderElector
from cluster.client.pages import Pages
from cluster.client.rest import Client

ELECTION: Mapping[str, float] = {"lease_s": 15.0, "renew_s": 10.0, "retry_s": 2.0}
"""client-go's defaults."""


class Elected(ABC):
    """Config: name (of the replica), client, and optionally election (see `ELECTION`) and `pages`
    (address, tls: where `/metrics` and `/healthz` are told)."""

    lease_name: str
    """Of the Lease in kube-system; also the client's user agent."""

    address: str | None = None

    def __init__(self) -> None:
        self._client: Client | None = None
        self._elector: LeaderElector | None = None
        self._task: asyncio.Task[None] | None = None
        self._pages: Pages | None = None

    @abstractmethod
    async def lead(self, client: Client) -> None:
        """The work; runs while this replica leads, and is cancelled when it does not any more.

        Nothing is written by `client` when somebody else may lead (`cluster.client.term`)."""

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What the work has to tell, beside whether this replica leads."""

    def metrics(self) -> Iterable[str]:
        """Lines of Prometheus text about the work."""
        return ()

    async def start(self, seams: Seams, config: Config) -> None:
        self._seams = seams
        client = Client(ClientConfig.from_dict(config["client"]), seams, self.lease_name)
        identity = f"{config['name']}_{seams.randomness.randbytes(8).hex()}"
        election = {**ELECTION, **(config.get("election") or {})}
        elector = LeaderElector(client, seams, self.lease_name, identity, **election)
        self._client, self._elector = client, elector
        if config.get("pages"):
            self._pages = Pages(seams, {"/metrics": self._text, "/healthz": lambda: "ok"})
            pages = config["pages"]
            self.address = await self._pages.start(pages["address"], pages["tls"])
        work = elector.run(lambda term: self.lead(client.during(term)))
        self._task = asyncio.create_task(work, name=self.lease_name)

    @property
    def task(self) -> asyncio.Task[None]:
        """Competes for the lease and works; done only by a defect, or after `stop`."""
        assert self._task is not None, "not started"
        return self._task

    async def stop(self) -> None:
        """End the work, then release the lease so that another replica leads at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._pages is not None:
            await self._pages.stop()
        if self._client is not None:
            await self._client.close()

    def _text(self) -> str:
        leads = int(self._elector is not None and self._elector.leading)
        status = f'leader_election_master_status{{name="{self.lease_name}"}} {leads}'
        return "\n".join([status, *self.metrics()]) + "\n"

    async def health(self) -> Health:
        if self._task is None or self._elector is None:
            return Health(False, "not started")
        if self._task.done():
            cause = "cancelled" if self._task.cancelled() else repr(self._task.exception())
            return Health(False, f"ended: {cause}", failed=True)
        leads = self._elector.leading
        return Health(True, "leads" if leads else "stands by", {"leader": leads, **self.facts()})
