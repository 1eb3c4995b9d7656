"""The userspace proxy: sockets on Service addresses, shared with other nodes' by SO_REUSEPORT."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from actors.seams import Seams
from cluster.proxy.balancer import Balancer
from cluster.proxy.rules import Frontend, Rule
from cluster.proxy.tcp import ClientHalf, Limit
from cluster.proxy.udp import UdpFrontend

log = logging.getLogger(__name__)


@dataclass
class _Open:
    balancer: Balancer
    close: Callable[[], Awaitable[None]]


class UserspaceProxy:
    """`apply` makes the sockets match the rules. Connections that are open stay so."""

    def __init__(self, seams: Seams, *, connections_max: int = 4096) -> None:
        self._seams = seams
        self._limit = Limit(connections_max)
        self._open: dict[Frontend, _Open] = {}

    @property
    def frontends(self) -> set[Frontend]:
        return set(self._open)

    async def apply(self, rules: Mapping[Frontend, Rule]) -> dict[Frontend, OSError]:
        """Returns the frontends that could not be bound, and why."""
        for frontend in [f for f in self._open if f not in rules]:
            await self._open.pop(frontend).close()
        failed = {}
        for frontend, rule in rules.items():
            opened = self._open.get(frontend)
            if opened is not None:
                opened.balancer.rule = rule
                continue
            try:
                self._open[frontend] = await self._listen(frontend, rule)
            except OSError as error:
                failed[frontend] = error
        return failed

    async def _listen(self, frontend: Frontend, rule: Rule) -> _Open:
        balancer = Balancer(rule, self._seams.randomness.randrange(1 << 16))
        network = self._seams.network
        if frontend.protocol == "UDP":
            transport = await network.listen_udp(
                frontend.host,
                frontend.port,
                lambda: UdpFrontend(balancer, self._seams),
                reuse_port=True,
            )

            async def close() -> None:
                transport.close()

            return _Open(balancer, close)
        if frontend.protocol != "TCP":
            raise OSError(f"protocol {frontend.protocol} is not supported")
        listener = await network.listen(
            frontend.host,
            frontend.port,
            lambda: ClientHalf(balancer, self._seams, self._limit),
            reuse_port=True,
        )
        return _Open(balancer, listener.close)

    async def stop(self) -> None:
        for opened in self._open.values():
            await opened.close()
        self._open.clear()
        self._limit.close_all()
