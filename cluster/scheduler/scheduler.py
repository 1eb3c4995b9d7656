"""The scheduler component: one of several replicas leads and gives pods their nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.component import Config
from actors.seams import Seams
from cluster.client import Client, Elected
from cluster.scheduler.plugins.profiles import Settings, settings_of
from cluster.scheduler.plugins.registry import Registry
from cluster.scheduler.term import Term


class Scheduler(Elected):
    """Config: `Elected`'s; `configuration`, a KubeSchedulerConfiguration of
    kubescheduler.config.k8s.io/v1 as an object; `plugins`, more plugins as ["module:Class"].

    A second scheduler beside this one needs its own `leaderElection.resourceName`.
    """

    lease_name = "kube-scheduler"

    def __init__(self) -> None:
        super().__init__()
        self._settings: Settings | None = None
        self._term: Term | None = None

    async def start(self, seams: Seams, config: Config) -> None:
        """Raises ValueError for a configuration that is wrong."""
        registry = Registry()
        registry.load(config.get("plugins") or ())
        given = config.get("configuration")
        self._settings = settings_of(given, registry)
        election = (given or {}).get("leaderElection") or {}
        self.lease_name = election.get("resourceName") or self.lease_name
        await super().start(seams, config)

    def facts(self) -> Mapping[str, Any]:
        return self._term.facts() if self._term is not None else {}

    def metrics(self) -> Iterable[str]:
        return self._term.metrics() if self._term is not None else ()

    async def lead(self, client: Client) -> None:
        assert self._settings is not None
        self._term = Term(client, self._seams, self._settings)
        try:
            await self._term.run()
        finally:
            self._term = None
