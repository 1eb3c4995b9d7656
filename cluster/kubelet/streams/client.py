"""The client's side of a remote command, whatever it speaks."""

from __future__ import annotations

import json
from typing import Protocol

from cluster.kubelet.streams.statuses import Status

Size = tuple[int, int]
"""Columns and rows of a terminal."""


class ClientLeft(ConnectionError):
    """The connection ended before the command did."""


class CommandClient(Protocol):
    """Streams that were not asked for are never used."""

    async def opened(self) -> None:
        """Until all streams are there. Raises TimeoutError, ConnectionError."""
        ...

    async def read_input(self) -> bytes:
        """For standard input; b"" when the client has closed it."""
        ...

    async def write_output(self, data: bytes, *, error: bool) -> None:
        """To standard output, or error. Waits for the client. Raises ConnectionError."""
        ...

    async def next_size(self) -> Size | None:
        """The next size of the terminal; None if there will be none."""
        ...

    async def finish(self, status: Status) -> None:
        """Tell how it ended, and say goodbye."""
        ...

    async def ping(self) -> None:
        """Something to write, so that a client that has gone is noticed."""
        ...

    async def left(self) -> None:
        """Returns when the client has gone."""
        ...


def parse_size(data: bytes) -> Size | None:
    """From `{"Width": 80, "Height": 24}`; None for anything else."""
    try:
        found = json.loads(data)
        return int(found["Width"]), int(found["Height"])
    except (ValueError, KeyError, TypeError):
        return None
