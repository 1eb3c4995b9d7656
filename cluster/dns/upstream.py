"""Asks other name servers, for names that are not the cluster's."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import cast

from actors.seams import Seams

_TIMEOUT_S = 2.0
_IN_FLIGHT_MAX = 512


class NoAnswer(Exception):
    """No upstream server answered."""


def servers_of(resolv_conf: str) -> list[str]:
    """The `nameserver` lines of a resolv.conf."""
    lines = (line.split() for line in resolv_conf.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


class _Datagram(asyncio.DatagramProtocol):
    def __init__(self, server: tuple[str, int], identifier: bytes) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._server = server
        self._identifier = identifier

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Only what comes from the server asked, under the number asked with, counts."""
        known = addr[:2] == self._server and data[:2] == self._identifier
        if known and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


class _Stream(asyncio.Protocol):
    def __init__(self, query: bytes) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._query = query
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        framed = struct.pack("!H", len(self._query)) + self._query
        cast(asyncio.Transport, transport).write(framed)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) < 2:
            return
        size = 2 + int.from_bytes(self._data[:2], "big")
        if len(self._data) >= size and not self.answer.done():
            self.answer.set_result(self._data[2:size])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("no answer"))


class Upstream:
    """`servers`: addresses, with an optional `:port`."""

    def __init__(self, seams: Seams, servers: Sequence[str]) -> None:
        self._seams = seams
        self._servers = [_address(server) for server in servers]
        self._slots = asyncio.Semaphore(_IN_FLIGHT_MAX)

    async def ask(self, query: bytes, *, tcp: bool) -> bytes:
        """The first answer, with the identifier of `query`. Raises NoAnswer."""
        if self._slots.locked():
            raise NoAnswer("too many queries under way")
        async with self._slots:
            for server in self._servers:
                identifier = self._seams.randomness.randbytes(2)
                own = identifier + query[2:]
                try:
                    async with asyncio.timeout(_TIMEOUT_S):
                        ask = self._by_tcp if tcp else self._by_udp
                        return query[:2] + (await ask(server, own))[2:]
                except (OSError, TimeoutError):
                    continue
        raise NoAnswer("no upstream name server answered")

    async def _by_udp(self, server: tuple[str, int], query: bytes) -> bytes:
        protocol = _Datagram(server, query[:2])
        transport = await self._seams.network.listen_udp("0.0.0.0", 0, lambda: protocol)
        try:
            transport.sendto(query, server)
            return await protocol.answer
        finally:
            transport.close()

    async def _by_tcp(self, server: tuple[str, int], query: bytes) -> bytes:
        transport, protocol = await self._seams.network.connect(*server, lambda: _Stream(query))
        try:
            answer: bytes = await protocol.answer
            return answer
        finally:
            transport.abort()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or 53)
