"""Rotation of the logs that a container manager writes: by size, a few files kept."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Awaitable, Callable

from cluster.kubelet.runtimes.cri.client import CriError

log = logging.getLogger(__name__)


class LogFiles:
    """PATH is written to, PATH.1 is the newest that was rotated. `reopen(container id)`."""

    def __init__(
        self, size_bytes_max: int, files_max: int, reopen: Callable[[str], Awaitable[None]]
    ) -> None:
        self._size_bytes_max, self._files_max, self._reopen = size_bytes_max, files_max, reopen

    async def rotate(self, container_id: str, path: str) -> None:
        """If it is too large. Where the writer cannot be told, the file keeps its name."""
        try:
            if os.stat(path).st_size < self._size_bytes_max:
                return
        except FileNotFoundError:
            return
        self._shift(path)
        try:
            await self._reopen(container_id)
        except CriError as error:
            log.warning("the log of container %s is not rotated: %s", container_id, error)
            os.replace(f"{path}.1", path)

    def _shift(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}.{self._files_max - 1}")
        for number in range(self._files_max - 2, -1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}.{number}" if number else path, f"{path}.{number + 1}")
