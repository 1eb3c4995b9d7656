"""EventLists to a server outside, again with back-off if they are refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver.audit import policy
from cluster.apiserver.remote import KubeconfigWebhook, RemoteError

log = logging.getLogger(__name__)

ATTEMPTS, INITIAL_BACKOFF_S, FACTOR = 5, 10.0, 1.5
"""Upstream's --audit-webhook-initial-backoff and what follows from it."""


class Sender:
    """Config: kubeconfig (a file), initial_backoff_s. `dropped` counts what was never taken."""

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        """Raises OSError without the file."""
        self._seams = seams
        self._webhook = KubeconfigWebhook(seams, config["kubeconfig"])
        self._backoff_s = float(config.get("initial_backoff_s") or INITIAL_BACKOFF_S)
        self.dropped = 0

    async def send(self, events: list[dict[str, Any]], attempts: int = ATTEMPTS) -> bool:
        """Whether they were taken."""
        body = {
            "kind": "EventList",
            "apiVersion": policy.API_VERSION,
            "metadata": {},
            "items": events,
        }
        delay_s = self._backoff_s
        for attempt in range(attempts):
            try:
                await self._webhook.tell(body)
                return True
            except RemoteError as error:
                log.warning("the audit webhook does not take %d events: %s", len(events), error)
            if attempt < attempts - 1:
                await self._seams.clock.sleep(delay_s)
                delay_s *= FACTOR
        self.dropped += len(events)
        return False
