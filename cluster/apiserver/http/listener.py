"""The listening side: accepts connections over the Network seam and ends them in order."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from actors.seams import Seams
from actors.seams.network import Listener
from cluster.apiserver.http.connection import HttpConnection, Limits
from cluster.apiserver.http.messages import Handler

BIND_ATTEMPTS = 50
BIND_RETRY_S = 0.1
STREAMS_S = 3.0
"""What watches need to end one after the other; other streams are cut off then."""
ANSWERS_S = 12.0


class HttpListener:
    """Serves `handler` on one address."""

    def __init__(
        self,
        seams: Seams,
        handler: Handler,
        limits: Limits | None = None,
        flows: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`flows`: see HttpConnection."""
        self._seams, self._handler, self._flows = seams, handler, flows
        self._limits = limits or Limits()
        self._connections: set[HttpConnection] = set()
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        assert self._listener is not None
        return self._listener.port

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Bind; waits a little for a predecessor on the same address to let go of it."""
        for attempt in range(BIND_ATTEMPTS):
            try:
                self._listener = await self._seams.network.listen(
                    host, port, self._connection, tls=tls
                )
                return
            except OSError:
                if attempt == BIND_ATTEMPTS - 1:
                    raise
                await self._seams.clock.sleep(BIND_RETRY_S)

    async def stop(self) -> None:
        """Stop accepting; let answers finish within ANSWERS_S, and streams within STREAMS_S."""
        if self._listener is not None:
            await self._listener.close()
        for connection in list(self._connections):
            connection.end_soon()
        await self._ended(STREAMS_S)
        for connection in list(self._connections):
            if connection.streaming:
                connection.abort()
        await self._ended(ANSWERS_S - STREAMS_S)
        for connection in list(self._connections):
            connection.abort()

    async def _ended(self, timeout_s: float) -> None:
        """Until there is no connection any more, or time is up."""
        ends = [c.closed for c in self._connections]
        if ends:
            await asyncio.wait(ends, timeout=timeout_s)

    def _connection(self) -> HttpConnection:
        return HttpConnection(
            self._handler,
            self._seams.clock,
            self._limits,
            self._connections.add,
            self._connections.discard,
            self._flows,
        )
