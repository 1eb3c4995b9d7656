"""`MemberClient`: one member, whoever leads: what it holds, and how it is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self

from actors.seams import Seams
from raftstore import wire
from raftstore.connection import ConnectionLost, ServerConnection, bounded, dial
from raftstore.errors import Unavailable
from raftstore.types import HashKv, MemberStatus, Range, Txn

MAX_IN_FLIGHT = 1024


class MemberClient:
    """Connects when first used, and again after a loss; `timeout_s` bounds every call."""

    def __init__(
        self, seams: Seams, endpoint: str, context: ssl.SSLContext | None, timeout_s: float
    ) -> None:
        self.endpoint = endpoint
        self._seams, self._tls, self._timeout_s = seams, context, timeout_s
        self._connection: ServerConnection | None = None
        self._connecting = asyncio.Lock()
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def execute(self, op: Range | Txn) -> Any:
        """Read what this member holds, maybe stale."""
        return wire.decode_result(op, await self.query(wire.encode_op(op)))

    async def query(self, operation: Sequence[Any]) -> Any:
        return await self._request("read", [wire.pack(operation), True])

    async def status(self) -> MemberStatus:
        return MemberStatus(*await self._request("status", []))

    async def hash_kv(self, revision: int = 0) -> HashKv:
        """Raises Compacted, FutureRevision."""
        return HashKv(*await self._request("hash_kv", [revision]))

    async def export(self) -> AsyncIterator[Any]:
        """The member's state at one moment: a head and chunks (see `ReplicatedState.cut`)."""
        position = 0
        while (piece := await self._request("export", [position])) is not None:
            yield piece
            position += 1

    async def _request(self, method: str, arguments: Sequence[Any]) -> Any:
        """Raises Unavailable without an answer in time, and what the member raises."""
        deadline_s = self._seams.clock.now() + self._timeout_s
        async with self._in_flight:
            try:
                connection = await bounded(self._seams, self._connected(), deadline_s)
                return await connection.request(method, arguments, deadline_s)
            except (OSError, TimeoutError, ConnectionLost) as error:
                raise Unavailable(f"no answer from {self.endpoint}") from error

    async def _connected(self) -> ServerConnection:
        async with self._connecting:
            if self._connection is None or self._connection.lost.is_set():
                self._connection = await dial(self._seams, self.endpoint, self._tls)
            return self._connection
