"""Sockets of this machine whose outgoing links can be cut, as a switch that drops packets does.

A cut is silent: connections stay open, what is sent waits, new connections hang. When it ends, what
waited arrives late, as TCP delivers it. What others send here is theirs to cut.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, cast

from actors.seams.network import ProtocolFactory, SystemNetwork

Address = tuple[str, int]


class CuttableNetwork(SystemNetwork):
    """See `actors.seams.network.Network`. Cuts concern connections that this side opens."""

    def __init__(self) -> None:
        self._cut: set[Address] = set()
        self._links: dict[_Link, None] = {}
        self._changed = asyncio.Event()

    def cut(self, addresses: Iterable[Address], *, reset: bool = False) -> None:
        """Cut these and no others (none: heal). With `reset` their connections end, noticed."""
        self._cut = set(addresses)
        for link in list(self._links):
            link.set_cut(link.address in self._cut)
            if reset and link.address in self._cut:
                link.abort()
        self._changed.set()

    async def connect(
        self,
        host: str,
        port: int,
        factory: ProtocolFactory,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        while (host, port) in self._cut:
            self._changed.clear()
            await self._changed.wait()
        link = _Link((host, port), cast(asyncio.Protocol, factory()), self._links)
        await super().connect(host, port, lambda: link, tls=tls, server_name=server_name)
        return cast(asyncio.Transport, link), link.protocol


class _Link(asyncio.Protocol):
    """The protocol of the real transport, and the transport of the real protocol."""

    def __init__(
        self, address: Address, protocol: asyncio.Protocol, links: dict[_Link, None]
    ) -> None:
        self.address, self.protocol, self._links = address, protocol, links
        self._cut = False
        self._waiting = bytearray()

    def set_cut(self, cut: bool) -> None:
        self._cut = cut
        if not cut and self._waiting:
            self._transport.write(bytes(self._waiting))
            self._waiting.clear()

    # ---- as a protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._links[self] = None
        self.protocol.connection_made(cast(asyncio.Transport, self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._links.pop(self, None)
        self.protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def pause_writing(self) -> None:
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self.protocol.resume_writing()

    # ---- as a transport

    def write(self, data: bytes) -> None:
        if self._cut:
            self._waiting += data
        else:
            self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        return len(self._waiting) + self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
