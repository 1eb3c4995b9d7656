"""The bounded set of connections to one server; idle ones are kept for the next request."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from actors.seams import Seams
from cluster.client.connection import Connection
from cluster.client.errors import Closed, Unreachable
from cluster.client.timeouts import timeout


@dataclass(frozen=True)
class Server:
    """Where a server listens, from a URL such as `https://127.1.0.1:6443`.

    `name`: what its certificate must bear, if that is not its host.
    """

    url: str
    host: str
    port: int
    secure: bool
    name: str = ""

    @classmethod
    def parse(cls, url: str) -> Server:
        """Raises ValueError for anything but http and https URLs with a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {url!r}")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return cls(url, parts.hostname, port, secure)


class Pool:
    """At most `limit` connections are in use at once; further callers wait for one."""

    idle_s = 30.0
    connect_timeout_s = 3.0

    def __init__(
        self, server: Server, seams: Seams, tls: ssl.SSLContext | None, limit: int
    ) -> None:
        self.server = server
        self._seams = seams
        self._tls = tls
        self._slots = asyncio.Semaphore(limit)
        self._idle: list[tuple[Connection, float]] = []
        self._used: set[Connection] = set()
        self._retired: set[Connection] = set()
        self._closed = False

    async def acquire(self) -> Connection:
        """A connection for one exchange. Raises Unreachable or Closed; nothing was sent."""
        await self._slots.acquire()
        try:
            connection = self._take_idle() or await self._connect()
        except BaseException:
            self._slots.release()
            raise
        self._used.add(connection)
        return connection

    def release(self, connection: Connection) -> None:
        """Give a connection back; it is closed unless its exchange was finished cleanly."""
        self._used.discard(connection)
        retired = connection in self._retired
        self._retired.discard(connection)
        if connection.reusable and not self._closed and not retired:
            self._idle.append((connection, self._seams.clock.now()))
        else:
            connection.close()
        self._slots.release()

    def close(self) -> None:
        self._closed = True
        self.drop()

    def retire(self) -> None:
        """Take no connection again that is open now; what goes on there ends in peace."""
        for connection, _ in self._idle:
            connection.close()
        self._idle.clear()
        self._retired = set(self._used)

    def drop(self) -> None:
        """End every connection; what goes on there fails."""
        for connection in [*self._used, *(item for item, _ in self._idle)]:
            connection.close()
        self._idle.clear()

    def _take_idle(self) -> Connection | None:
        oldest = self._seams.clock.now() - self.idle_s
        while self._idle:
            connection, since = self._idle.pop()
            if not connection.closed and since >= oldest:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        if self._closed:
            raise Closed("the client is closed")
        server = self.server
        try:
            async with timeout(self._seams.clock, self.connect_timeout_s):
                _, connection = await self._seams.network.connect(
                    server.host,
                    server.port,
                    Connection,
                    tls=self._tls if server.secure else None,
                    server_name=server.name or server.host,
                )
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"{server.url}: {error or 'timed out'}") from error
        assert isinstance(connection, Connection)
        return connection
