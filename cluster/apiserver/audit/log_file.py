"""The file that audit events go to: JSON lines, in batches, of bounded size and number."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

from cluster.machinery.codec import json_codec

log = logging.getLogger(__name__)

BUFFERED = 10_000
SIZE_BYTES, BACKUPS = 100 << 20, 10


class AuditLog:
    """Config: log (a path), max_size_bytes, max_backups. Call `start`, and `stop` at the end.

    Events wait in memory while a batch is written; what comes when too many wait is dropped and
    counted: the log must not stop the server.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._path = str(config["log"])
        self._size_bytes = int(config.get("max_size_bytes") or SIZE_BYTES)
        self._backups = int(config.get("max_backups") or BACKUPS)
        self._waiting: list[dict[str, Any]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write what waits, then end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._write(self._taken())

    def put(self, event: dict[str, Any]) -> None:
        """Never waits."""
        if len(self._waiting) >= BUFFERED:
            self.dropped += 1
            return
        self._waiting.append(event)
        self._wake.set()

    def _taken(self) -> list[dict[str, Any]]:
        taken, self._waiting = self._waiting, []
        return taken

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = self._taken()
            written = asyncio.get_running_loop().run_in_executor(None, self._write, batch)
            try:
                await asyncio.shield(written)
            except asyncio.CancelledError:
                await asyncio.wait([written])
                raise

    def _write(self, events: list[dict[str, Any]]) -> None:
        if not events:
            return
        data = b"".join(json_codec.encode(event) + b"\n" for event in events)
        try:
            self._rotate(len(data))
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(data)
        except OSError as error:
            self.dropped += len(events)
            log.error("%d audit events are lost: %s", len(events), error)

    def _rotate(self, more_bytes: int) -> None:
        """PATH.1 is the newest of the older files."""
        try:
            size = os.path.getsize(self._path)
        except FileNotFoundError:
            return
        if size + more_bytes <= self._size_bytes:
            return
        for number in range(self._backups, 0, -1):
            older = f"{self._path}.{number}"
            newer = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.exists(newer):
                os.replace(newer, older)
