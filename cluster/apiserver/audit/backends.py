"""Where audit events go: a file, a server outside, or both."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from actors.seams import Seams
from cluster.apiserver.audit.log_file import AuditLog
from cluster.apiserver.audit.webhook import AuditWebhook


class Backend(Protocol):
    """`put` never waits."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    def put(self, event: dict[str, Any]) -> None: ...


class Backends:
    """All that the config names: `log` (see `AuditLog`), `webhook` (see `AuditWebhook`)."""

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        self._all: list[Backend] = []
        if config.get("log"):
            self._all.append(AuditLog(config))
        if config.get("webhook"):
            self._all.append(AuditWebhook(seams, config["webhook"]))
        if not self._all:
            raise ValueError("audit: a policy needs a log or a webhook")

    def start(self) -> None:
        for each in self._all:
            each.start()

    async def stop(self) -> None:
        await asyncio.gather(*(each.stop() for each in self._all))

    def put(self, event: dict[str, Any]) -> None:
        for each in self._all:
            each.put(event)
