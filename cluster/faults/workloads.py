"""What goes on while something is being broken: counted writes and timed requests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from actors.seams import Seams
from cluster.client.config import ClientConfig
from cluster.client.errors import ClientError
from cluster.client.rest import Client
from cluster.machinery.status import ApiError

PERIOD_S = 0.05
ATTEMPT_TIMEOUT_S = 5.0


@dataclass
class Outages:
    """When attempts failed and when they succeeded, in seconds of the monotonic clock."""

    succeeded: int = 0
    failed: int = 0
    last_failure: float = 0.0
    last_success: float = 0.0
    longest_gap_s: float = 0.0
    errors: list[str] = field(default_factory=list)

    def record(self, error: str | None) -> None:
        now = time.monotonic()
        if error is None:
            self.succeeded += 1
            if self.last_success:
                self.longest_gap_s = max(self.longest_gap_s, now - self.last_success)
            self.last_success = now
        else:
            self.failed += 1
            self.last_failure = now
            self.errors = [*self.errors[-19:], error]

    def begin(self) -> None:
        """Count failures and gaps from here on."""
        self.failed, self.longest_gap_s = 0, 0.0

    def steady(self, since: float, for_s: float) -> bool:
        """Succeeding again, with no failure for `for_s` seconds."""
        quiet_since = max(self.last_failure, since)
        return self.last_success - quiet_since >= for_s


class Writer:
    """Creates numbered ConfigMaps one after the other, and remembers which were acknowledged.

    An attempt whose outcome is unknown is tried again under the same name: AlreadyExists then
    means that it had been written.
    """

    def __init__(self, config: ClientConfig, seams: Seams, namespace: str) -> None:
        self._client = Client(config, seams, user_agent="raykube-faults")
        self._namespace = namespace
        self.outages = Outages()
        self.acknowledged: list[str] = []

    async def run(self) -> None:
        number = 0
        while True:
            name = f"write-{number:06d}"
            error = await self._attempt(name)
            self.outages.record(error)
            if error is None:
                self.acknowledged.append(name)
                number += 1
            await asyncio.sleep(PERIOD_S)

    async def _attempt(self, name: str) -> str | None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                await self._client.create("configmaps", body, self._namespace)
        except ApiError as error:
            return None if error.reason == "AlreadyExists" else str(error)
        except (ClientError, TimeoutError, OSError) as error:
            return repr(error)
        return None

    async def missing(self) -> list[str]:
        """Acknowledged writes that the cluster no longer has."""
        answer: dict[str, Any] = await self._client.list("configmaps", self._namespace)
        present = {item["metadata"]["name"] for item in answer["items"]}
        return [name for name in self.acknowledged if name not in present]

    async def close(self) -> None:
        await self._client.close()


class Requester:
    """Asks an HTTP service again and again, on a fresh connection each time."""

    def __init__(self, host: str, port: int, period_s: float = PERIOD_S) -> None:
        self._host, self._port, self._period_s = host, port, period_s
        self.outages = Outages()

    async def run(self) -> None:
        while True:
            self.outages.record(await self._attempt())
            await asyncio.sleep(self._period_s)

    async def _attempt(self) -> str | None:
        writer = None
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                status = await reader.readline()
        except (OSError, TimeoutError) as error:
            return repr(error)
        finally:
            if writer is not None:
                writer.close()
        return None if b" 200 " in status else f"answered {status!r}"
