"""Where audit events go: a file, a server outside, or both."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from actors.seams import Seams
from cluster.apiserver.audit.blocking import BLOCKING, STRICT, BlockingWebhook
from cluster.apiserver.audit.log_file import AuditLog
from cluster.apiserver.audit.webhook import AuditWebhook

BATCH = "batch"
Sent = asyncio.Future[Any]
"""Done once an event has been taken, or given up. May raise ApiError: the request is refused."""


class Backend(Protocol):
    """`put` never waits; what it gives back is what the request must wait for, if anything."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    def put(self, event: dict[str, Any]) -> Sent | None: ...


class Backends:
    """All that the config names: `log` (see `AuditLog`), `webhook` (its
    `mode`: batch, see `AuditWebhook`, or one of `BlockingWebhook`)."""

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        self._all: list[Backend] = []
        if config.get("log"):
            self._all.append(AuditLog(config))
        if config.get("webhook"):
            self._all.append(_webhook(seams, config["webhook"]))
        if not self._all:
            raise ValueError("audit: a policy needs a log or a webhook")

    def start(self) -> None:
        for each in self._all:
            each.start()

    async def stop(self) -> None:
        await asyncio.gather(*(each.stop() for each in self._all))

    def put(self, event: dict[str, Any]) -> Sent | None:
        waiting = [sent for each in self._all if (sent := each.put(event)) is not None]
        return asyncio.gather(*waiting) if waiting else None


def _webhook(seams: Seams, config: Mapping[str, Any]) -> Backend:
    """Raises ValueError for a mode that there is not."""
    mode = config.get("mode", BATCH)
    if mode in (BLOCKING, STRICT):
        return BlockingWebhook(seams, config)
    if mode != BATCH:
        raise ValueError(
            f"audit webhook: mode must be {BATCH}, {BLOCKING} or {STRICT}, not {mode!r}"
        )
    return AuditWebhook(seams, config)
