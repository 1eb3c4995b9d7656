"""Carries TCP connections between a client and a backend, byte for byte."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from dataclasses import dataclass, field
from typing import cast

from actors.seams import Seams
from cluster.proxy.balancer import Balancer

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 5.0


@dataclass
class Limit:
    """Connections of one proxy, all frontends together; those beyond are reset."""

    connections_max: int
    open: set[Half] = field(default_factory=set)

    def close_all(self) -> None:
        for half in list(self.open):
            half.abort()


class Half(asyncio.Protocol):
    """One side. What it reads is written to `peer`; a full peer pauses the reading.

    Bytes can arrive before there is a peer: a backend may speak first, and uvloop reads from an
    accepted connection even if it was paused at once. They are kept, and reading is paused.
    """

    def __init__(self) -> None:
        self.peer: Half | None = None
        self.transport: asyncio.Transport | None = None
        self._early = bytearray()
        self._read_eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def join(self, peer: Half) -> None:
        """From now on what this side reads goes to `peer`, what it has read already first."""
        self.peer = peer
        if self._early and peer.transport is not None:
            peer.transport.write(bytes(self._early))
            self._early.clear()
        if self._read_eof:
            self._pass_on_eof(peer)
        self.resume_reading()

    def resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            self._early += data
            if self.transport is not None:
                self.transport.pause_reading()
        elif self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """A half-close goes on to the other side; the connection ends when both are done."""
        self._read_eof = True
        return True if self.peer is None else self._pass_on_eof(self.peer)

    def _pass_on_eof(self, peer: Half) -> bool:
        """Whether this side stays open for what the other one still sends."""
        if peer.transport is None or peer._read_eof:
            return False
        if peer.transport.can_write_eof():
            peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        peer = self.peer
        if peer is not None and peer.transport is not None and not peer.transport.is_closing():
            peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        peer, self.peer, self.transport = self.peer, None, None
        if peer is not None and peer.transport is not None:
            if exc is not None:
                peer.transport.abort()
            else:
                peer.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class ClientHalf(Half):
    """The accepted side: finds a backend before anything is read."""

    def __init__(self, balancer: Balancer, seams: Seams, limit: Limit) -> None:
        super().__init__()
        self._balancer = balancer
        self._seams = seams
        self._limit = limit
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        if len(self._limit.open) >= self._limit.connections_max:
            log.warning("too many connections: one to %s is reset", self._balancer.rule.service)
            self._reset()
            return
        self._limit.open.add(self)
        self.transport.pause_reading()
        self._task = asyncio.create_task(self._connect(), name="proxy connect")

    async def _connect(self) -> None:
        assert self.transport is not None
        client = str((self.transport.get_extra_info("peername") or ("",))[0])
        now_s = self._seams.clock.now()
        for backend in self._balancer.order(client, now_s):
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    _, half = await self._seams.network.connect(backend.host, backend.port, Half)
            except (OSError, TimeoutError) as error:
                log.info("%s: backend %s: %s", self._balancer.rule.service, backend, error)
                continue
            self._balancer.connected(client, backend, now_s)
            self._join(half)
            return
        self._reset()

    def _reset(self) -> None:
        """A reset, not an orderly end: the nearest to refusing what was accepted already."""
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _join(self, half: Half) -> None:
        if self.transport is None or half.transport is None:
            half.abort()
            return
        self.join(half)
        half.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit.open.discard(self)
        if self._task is not None:
            self._task.cancel()
        super().connection_lost(exc)
