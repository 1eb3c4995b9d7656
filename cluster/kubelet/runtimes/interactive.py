"""What a runtime offers to exec and attach: commands with open streams."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cluster.kubelet.runtimes.base import ExecResult

_PIECES_MAX = 4


@dataclass(frozen=True)
class Wanted:
    """Which streams a client wants. With a terminal there is no separate standard error."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Output(Protocol):
    async def read(self) -> bytes:
        """b"" at the end."""
        ...


class Pieces:
    """What one stream of a container has said, as it was handed over; a slow reader stops the
    writer."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(_PIECES_MAX)
        self._ended = False

    async def read(self) -> bytes:
        if self._ended:
            return b""
        data = await self._pieces.get()
        self._ended = not data
        return data

    async def put(self, data: bytes) -> None:
        """b"" is the end."""
        await self._pieces.put(data)


class Input(Protocol):
    async def write(self, data: bytes) -> None:
        """Waits for the reader. Raises ConnectionError if there is none any more."""
        ...

    def close(self) -> None:
        """Nothing more comes. What that means to the process is the runtime's matter."""
        ...


class Running(Protocol):
    """A command in a container, or its main process as seen by somebody attached."""

    @property
    def stdin(self) -> Input | None: ...

    @property
    def stdout(self) -> Output | None: ...

    @property
    def stderr(self) -> Output | None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    async def wait(self) -> int:
        """The exit code; 0 at the end of what was attached to. Output may still be unread.

        Raises RuntimeFailure if the command could not be run after all.
        """
        ...

    async def close(self) -> None:
        """Let go. A command that still runs is killed, with all of its session."""
        ...


@runtime_checkable
class Interactive(Protocol):
    """A runtime that has these. `open` and `attach` raise RuntimeFailure."""

    async def open(self, container_id: str, command: Sequence[str], wanted: Wanted) -> Running:
        """Run a command in a running container."""
        ...

    async def attach(self, container_id: str, wanted: Wanted) -> Running:
        """The streams of the container's own process."""
        ...

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        timeout_s: float,
        output_size_bytes_max: int,
    ) -> ExecResult:
        """See `base.Runtime`."""
        ...
