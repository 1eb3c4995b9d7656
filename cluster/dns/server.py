"""The DNS component: answers for the cluster's names, forwards all others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, cast

import dnslib

from actors.component import Config, Health
from actors.seams import Seams
from actors.seams.network import Listener
from cluster.client import Client, ClientConfig, Informer
from cluster.dns import messages, zone
from cluster.dns.upstream import NoAnswer, Upstream, servers_of

log = logging.getLogger(__name__)

_TCP_IDLE_TIMEOUT_S = 10.0
_TCP_CONNECTIONS_MAX = 256
_TCP_QUERIES_MAX = 100
_ALIASES_MAX = 8


class Responder:
    """From the bytes of a query to the bytes of a reply; `current` gives the zone."""

    def __init__(self, current: Callable[[], zone.Zone | None], upstream: Upstream) -> None:
        self._current = current
        self._upstream = upstream
        self._rotation = 0

    async def respond(self, data: bytes, *, tcp: bool, aliases: int = 0) -> bytes | None:
        """None for what is no query, as answering strangers' noise helps nobody."""
        try:
            query = dnslib.DNSRecord.parse(data)
        except Exception as error:  # dnslib lets struct.error and others through
            log.debug("malformed DNS message: %s", error)
            return None
        if query.header.qr or len(query.questions) != 1:
            return None
        if query.header.opcode != 0:
            return bytes(messages.failure(query, dnslib.RCODE.NOTIMP).pack())
        message = self._from_zone(query)
        if message is None:
            return await self._forwarded(query, data, tcp=tcp)
        if messages.is_alias_only(message) and aliases < _ALIASES_MAX:
            await self._follow_alias(query, message, aliases + 1)
        if tcp:
            return bytes(message.pack())
        return messages.pack_for_udp(message, messages.udp_limit(query))

    def _from_zone(self, query: Any) -> Any | None:
        self._rotation += 1
        known = self._current()
        if known is None:  # not synced: no answer is better than a wrong one
            return messages.failure(query, dnslib.RCODE.SERVFAIL)
        return messages.reply(query, known, self._rotation)

    async def _follow_alias(self, query: Any, message: Any, aliases: int) -> None:
        """Stub resolvers do not ask again: what the alias stands for belongs in the answer."""
        wanted = messages.question(str(message.rr[0].rdata), query)
        reply = await self.respond(bytes(wanted.pack()), tcp=True, aliases=aliases)
        if reply is not None:
            message.add_answer(*dnslib.DNSRecord.parse(reply).rr)

    async def _forwarded(self, query: Any, data: bytes, *, tcp: bool) -> bytes:
        try:
            return await self._upstream.ask(data, tcp=tcp)
        except NoAnswer:
            return bytes(messages.failure(query, dnslib.RCODE.SERVFAIL).pack())


class _Tasks:
    """Answers under way, kept so that they are neither lost nor left behind."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="dns query")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class UdpServer(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder, tasks: _Tasks) -> None:
        self._responder = responder
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._tasks.add(self._answer(data, addr))

    async def _answer(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        reply = await self._responder.respond(data, tcp=False)
        if reply is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


class TcpServer(asyncio.Protocol):
    """Queries one after another on a connection that may not idle for long."""

    open_count = 0

    def __init__(self, responder: Responder, tasks: _Tasks) -> None:
        self._responder = responder
        self._tasks = tasks
        self._data = b""
        self._queries = 0
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        TcpServer.open_count += 1
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_TCP_IDLE_TIMEOUT_S, self._transport.abort)
        if TcpServer.open_count > _TCP_CONNECTIONS_MAX:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * 65537:
            self._transport.abort()
        elif self._task is None:
            self._task = self._tasks.add(self._serve())

    async def _serve(self) -> None:
        while len(self._data) >= 2:
            size = 2 + int.from_bytes(self._data[:2], "big")
            if len(self._data) < size:
                break
            query, self._data = self._data[2:size], self._data[size:]
            self._queries += 1
            reply = await self._responder.respond(query, tcp=True)
            if reply is None or self._queries > _TCP_QUERIES_MAX:
                self._transport.close()
                return
            self._transport.write(len(reply).to_bytes(2, "big") + reply)
        self._task = None

    def connection_lost(self, exc: Exception | None) -> None:
        TcpServer.open_count -= 1
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


class DnsServer:
    """Config: `{address: "host:port", domain, client, upstreams: [..] or none}`."""

    def __init__(self) -> None:
        self._tasks = _Tasks()
        self._zone: zone.Zone | None = None
        self._stale = True
        self._informers: list[Informer] = []
        self._listener: Listener | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._client: Client | None = None
        self._address: str | None = None
        self._problem = ""

    @property
    def address(self) -> str | None:
        return self._address

    async def start(self, seams: Seams, config: Config) -> None:
        """Raises OSError if the address is taken; a lack of rights is told by `health` instead."""
        host, _, port = str(config["address"]).partition(":")
        self._domain: str = config.get("domain", "cluster.local")
        upstreams = config.get("upstreams")
        if upstreams is None:
            upstreams = [server for server in _host_servers() if server != host]
        responder = Responder(self._current, Upstream(seams, upstreams))
        try:
            await self._listen(seams, host, int(port or 53), responder)
        except PermissionError as error:  # pods go without names, but the node can run them
            self._problem = f"cannot listen on {config['address']}: {error}"
            log.warning(self._problem)
        self._client = Client(ClientConfig.from_dict(config["client"]), seams, "dns")
        self._services = Informer(self._client, "services")
        self._slices = Informer(self._client, "endpointslices.discovery.k8s.io")
        self._informers = [self._services, self._slices]
        for informer in self._informers:
            informer.subscribe(self._on_change)
            informer.start()

    async def _listen(self, seams: Seams, host: str, port: int, responder: Responder) -> None:
        self._listener = await seams.network.listen(
            host, port, lambda: TcpServer(responder, self._tasks), reuse_port=True
        )
        port = self._listener.port
        self._udp = await seams.network.listen_udp(
            host, port, lambda: UdpServer(responder, self._tasks), reuse_port=True
        )
        self._address = f"{host}:{port}"

    def _on_change(self, *_: object) -> None:
        self._stale = True

    def _current(self) -> zone.Zone | None:
        """Built again by the first query after a change, so a burst of changes costs one build."""
        if not all(informer.has_synced for informer in self._informers):
            return None
        if self._stale or self._zone is None:
            self._stale = False
            self._zone = zone.build(self._services.list(), self._slices.list(), self._domain)
        return self._zone

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        if self._udp is not None:
            self._udp.close()
        await self._tasks.stop()
        for informer in self._informers:
            await informer.stop()
        if self._client is not None:
            await self._client.close()

    async def health(self) -> Health:
        ready = bool(self._informers) and all(i.has_synced for i in self._informers)
        return Health(ready, self._problem if ready else "waiting for the API server")


def _host_servers() -> list[str]:
    try:
        with open("/etc/resolv.conf") as file:
            return servers_of(file.read())
    except FileNotFoundError:
        return []
