"""Carries UDP datagrams: each client has its own socket to its backend until it falls silent."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from actors.seams import Seams
from actors.seams.clock import TimerHandle
from cluster.proxy.balancer import Balancer
from cluster.proxy.rules import Backend

log = logging.getLogger(__name__)

Address = tuple[str, int]

_IDLE_TIMEOUT_S = 60.0
_CLIENTS_MAX = 2048
_WAITING_MAX = 16


class _Flow(asyncio.DatagramProtocol):
    """One client's conversation."""

    def __init__(self, frontend: UdpFrontend, client: Address, backend: Backend) -> None:
        self.backend = backend
        self.waiting: list[bytes] = []
        self.last_s = 0.0
        self._frontend = frontend
        self._client = client
        self._transport: asyncio.DatagramTransport | None = None

    def opened(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport
        for data in self.waiting:
            transport.sendto(data, (self.backend.host, self.backend.port))
        self.waiting.clear()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data, (self.backend.host, self.backend.port))
        elif len(self.waiting) < _WAITING_MAX:
            self.waiting.append(data)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if addr[:2] == (self.backend.host, self.backend.port):
            self._frontend.reply(data, self._client)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class UdpFrontend(asyncio.DatagramProtocol):
    """Listens on a Service's UDP port."""

    def __init__(self, balancer: Balancer, seams: Seams) -> None:
        self._balancer = balancer
        self._seams = seams
        self._flows: dict[Address, _Flow] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: TimerHandle | None = None
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        client = (str(addr[0]), int(addr[1]))
        now_s = self._seams.clock.now()
        flow = self._flows.get(client)
        if flow is None or flow.backend not in self._balancer.rule.backends:
            flow = self._open(client, now_s)
        if flow is not None:
            flow.last_s = now_s
            flow.send(data)

    def _open(self, client: Address, now_s: float) -> _Flow | None:
        self._drop(client)
        if len(self._flows) >= _CLIENTS_MAX:
            log.warning("too many UDP clients of %s", self._balancer.rule.service)
            return None
        order = self._balancer.order(client[0], now_s)
        if not order:
            return None
        self._balancer.connected(client[0], order[0], now_s)
        flow = self._flows[client] = _Flow(self, client, order[0])
        task = asyncio.create_task(self._connect(flow), name="proxy udp")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._timer is None:
            self._timer = self._seams.clock.call_later(_IDLE_TIMEOUT_S, self._expire)
        return flow

    async def _connect(self, flow: _Flow) -> None:
        try:
            transport = await self._seams.network.listen_udp("0.0.0.0", 0, lambda: flow)
        except OSError as error:
            log.warning("no socket for a UDP client: %s", error)
            return
        flow.opened(transport)

    def _expire(self) -> None:
        now_s = self._seams.clock.now()
        for client in [c for c, f in self._flows.items() if now_s - f.last_s >= _IDLE_TIMEOUT_S]:
            self._drop(client)
        again = bool(self._flows)
        self._timer = None
        if again:
            self._timer = self._seams.clock.call_later(_IDLE_TIMEOUT_S, self._expire)

    def _drop(self, client: Address) -> None:
        flow = self._flows.pop(client, None)
        if flow is not None:
            flow.close()

    def reply(self, data: bytes, client: Address) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, client)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for client in list(self._flows):
            self._drop(client)
