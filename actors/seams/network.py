"""The network seam: asyncio transports and protocols, so that links can be real or simulated."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Listener(Protocol):
    @property
    def port(self) -> int: ...

    async def close(self) -> None:
        """Stop accepting; connections that are open stay open."""
        ...


class Network(Protocol):
    async def listen(
        self,
        host: str,
        port: int,
        factory: ProtocolFactory,
        *,
        tls: ssl.SSLContext | None = None,
        reuse_port: bool = False,
    ) -> Listener:
        """Accept TCP on `host:port` (0 = any free port). Raises OSError if it is taken."""
        ...

    async def connect(
        self,
        host: str,
        port: int,
        factory: ProtocolFactory,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        """Open a TCP connection. Raises OSError (ConnectionError, ssl.SSLError) on failure."""
        ...

    async def listen_udp(
        self, host: str, port: int, factory: ProtocolFactory, *, reuse_port: bool = False
    ) -> asyncio.DatagramTransport:
        """Receive datagrams on `host:port`."""
        ...


class _ServerListener:
    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()


class SystemNetwork:
    """The sockets of this machine."""

    backlog = 1024

    async def listen(
        self,
        host: str,
        port: int,
        factory: ProtocolFactory,
        *,
        tls: ssl.SSLContext | None = None,
        reuse_port: bool = False,
    ) -> Listener:
        server = await asyncio.get_running_loop().create_server(
            factory,
            host,
            port,
            ssl=tls,
            reuse_address=True,
            reuse_port=reuse_port or None,
            backlog=self.backlog,
        )
        return _ServerListener(server)

    async def connect(
        self,
        host: str,
        port: int,
        factory: ProtocolFactory,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        transport, protocol = await asyncio.get_running_loop().create_connection(
            factory, host, port, ssl=tls, server_hostname=server_name if tls else None
        )
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return transport, protocol

    async def listen_udp(
        self, host: str, port: int, factory: ProtocolFactory, *, reuse_port: bool = False
    ) -> asyncio.DatagramTransport:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            factory,
            local_addr=(host, port),
            reuse_port=reuse_port or None,
        )
        return transport
