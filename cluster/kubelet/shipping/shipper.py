"""Reads the logs of pods from where it was, and posts them in batches until each was taken."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from actors.seams import Seams
from cluster.kubelet import http_probe
from cluster.kubelet.shipping import positions, records
from cluster.kubelet.shipping.positions import Positions
from cluster.kubelet.shipping.records import Record, Source

log = logging.getLogger(__name__)

_BATCH_BYTES_MAX, _FILE_BYTES_MAX = 1 << 20, 256 << 10
"""Of one request, and of one file in it: a container that floods does not keep others waiting."""
_RETRY_MAX_S, _TIMEOUT_S = 60.0, 30.0


@dataclass(frozen=True)
class Target:
    """Where to: http or https (the server is checked against `ca`, a file, or the system's)."""

    url: str
    form: str = "jsonl"
    headers: Mapping[str, str] = field(default_factory=dict)
    ca: str = ""
    period_s: float = 1.0

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Target:
        """`{url, format, headers, ca, period_s}`. Raises ValueError."""
        form, url = str(config.get("format", "jsonl")), str(config.get("url", ""))
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"ship_logs: {url!r} is no http or https URL")
        if form not in records.FORMATS:
            raise ValueError(f"ship_logs: unknown format {form!r}: jsonl or otlp")
        headers, ca = dict(config.get("headers") or {}), str(config.get("ca") or "")
        return cls(url, form, headers, ca, float(config.get("period_s", 1.0)))


@dataclass(frozen=True)
class Batch:
    """`sent`: bytes by inode, once it was taken; `here`: the inodes of all logs there are."""

    records: list[Record]
    sent: dict[int, int]
    here: frozenset[int]


class Shipper:
    def __init__(self, seams: Seams, target: Target, data_dir: str, node: str) -> None:
        self._seams, self._target, self._node = seams, target, node
        self._folder = os.path.join(data_dir, "logs", "pods")
        self._positions = Positions.load(os.path.join(data_dir, "shipped.json"))
        self._tls = ssl.create_default_context(cafile=target.ca or None)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="log shipping")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        wait_s = self._target.period_s
        while True:
            try:
                more = await self.ship()
                wait_s = 0.0 if more else self._target.period_s
            except (OSError, TimeoutError) as error:
                wait_s = min(_RETRY_MAX_S, max(1.0, 2 * wait_s))
                log.warning("logs not sent, again in %g s: %s", wait_s, error)
            await self._seams.clock.sleep(wait_s)

    async def ship(self) -> bool:
        """Whether a batch was sent, so that there may be more. Raises OSError, TimeoutError."""
        batch = await asyncio.to_thread(read, self._folder, self._positions.sent)
        if batch.records:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._post(records.encode(batch.records, self._target.form, self._node))
        if batch.sent:
            self._positions.keep(batch.sent, batch.here)
        return bool(batch.records)

    async def _post(self, body: bytes) -> None:
        url = urlsplit(self._target.url)
        assert url.hostname is not None
        secure = url.scheme == "https"
        content_type = records.FORMATS[self._target.form]
        status, text = await http_probe.request(
            self._seams.network,
            url.hostname,
            url.port or (443 if secure else 80),
            (url.path or "/") + (f"?{url.query}" if url.query else ""),
            method="POST",
            body=body,
            headers={"content-type": content_type, **self._target.headers}.items(),
            tls=self._tls if secure else None,
        )
        if not 200 <= status < 300:
            raise OSError(f"{self._target.url} answered {status}: {text[:200]!r}")


def read(folder: str, sent: Mapping[int, int]) -> Batch:
    """What is new in all logs, within limits. Only whole entries are taken."""
    found: list[Record] = []
    now: dict[int, int] = {}
    here, left = set(), _BATCH_BYTES_MAX
    for path in positions.files(folder):
        try:
            source = Source.of_path(path)
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                inode = status.st_ino
                here.add(inode)
                at = sent.get(inode, 0)
                at = at if at <= status.st_size else 0  # the inode of a log that is gone
                file.seek(at)
                data = file.read(min(left, _FILE_BYTES_MAX))
        except (ValueError, OSError):  # no log of ours, or gone with its pod
            continue
        whole = data[: data.rfind(b"\n") + 1]
        if whole:
            found += records.parse(whole, source)
            now[inode] = at + len(whole)
            left -= len(whole)
    return Batch(found, now, frozenset(here))
