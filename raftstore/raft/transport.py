"""Links between members: each dials the others and sends on its own connection only.

So a link has one direction, one sender and numbered messages; nothing has to be agreed on when
both dial at once. What a link carries is msgpack; who speaks is fixed by the first message and,
with TLS, by the certificate.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from actors.seams import Seams
from actors.seams.network import Listener
from raftstore.errors import InvalidRequest
from raftstore.framing import FrameProtocol
from raftstore.identity import Organizations, is_allowed

MAX_BUFFERED_BYTES = 32 << 20
BACK_OFF_S = (0.05, 1.0)
PROTOCOL_VERSION = 1
_logger = logging.getLogger(__name__)


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class Events:
    """What a transport tells its owner; all callbacks run on the loop."""

    def __init__(
        self,
        message: Callable[[str, dict[str, Any]], None],
        connected: Callable[[str], None],
        disconnected: Callable[[str], None],
        silenced: Callable[[str], None],
        flushed: Callable[[], None],
    ) -> None:
        self.message, self.flushed = message, flushed
        self.connected, self.disconnected = connected, disconnected
        self.silenced = silenced
        """A peer's own connection to us was lost: it may have died."""


class Incoming(FrameProtocol):
    """The receiving end of a link."""

    def __init__(self, owner: PeerTransport) -> None:
        super().__init__()
        self._owner = owner
        self._peer = ""
        self._last_sequence = 0

    def opened(self) -> None:
        self._owner.incoming[self] = None
        if self.transport is not None and not is_allowed(self.transport, self._owner.allowed):
            _logger.warning("refused a link: its certificate is not of the store's members")
            self.abort()

    def received(self, message: Any) -> None:
        if not self._peer:
            self._greet(message)
            return
        sequence, body = message
        if sequence != self._last_sequence + 1:
            raise InvalidRequest("message lost on a link")
        self._last_sequence = sequence
        self._owner.events.message(self._peer, body)

    def _greet(self, message: Any) -> None:
        version, cluster, sender, receiver, address = message
        expected = (PROTOCOL_VERSION, self._owner.cluster, self._owner.name)
        if (version, cluster, receiver) != expected or sender not in self._owner.peers:
            _logger.warning("refused a link from %r: not of this cluster", sender)
            raise InvalidRequest("not a member of this cluster")
        self._peer = sender
        self._owner.client_addresses[sender] = address

    def flushed(self) -> None:
        self._owner.events.flushed()

    def closed(self, error: Exception | None) -> None:
        self._owner.incoming.pop(self, None)
        if self._peer:
            self._owner.events.silenced(self._peer)


class Outgoing(FrameProtocol):
    """The sending end of a link; nothing is ever received on it."""

    def __init__(self) -> None:
        super().__init__()
        self._sequence = 0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def post(self, message: dict[str, Any]) -> bool:
        """Whether it was taken; a link that lags too far drops (Raft sends again)."""
        if self.transport is None or not self.has_room():
            return False
        self._sequence += 1
        self.send((self._sequence, message))
        return True

    def has_room(self) -> bool:
        transport = self.transport
        return transport is not None and transport.get_write_buffer_size() < MAX_BUFFERED_BYTES

    def received(self, message: Any) -> None:
        raise InvalidRequest("unexpected answer on a link")

    def closed(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class PeerTransport:
    """All links of one member."""

    def __init__(
        self,
        name: str,
        peers: Mapping[str, str],
        client_address: str,
        events: Events,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
        allowed: Organizations,
    ) -> None:
        self.name, self.peers, self.events = name, dict(peers), events
        self.allowed = allowed
        self.cluster = ",".join(sorted(self.peers))
        self.client_addresses = {name: client_address}
        self.incoming: dict[Incoming, None] = {}
        self._links: dict[str, Outgoing] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._listener: Listener | None = None
        self._server_tls = tls[0] if tls else None
        self._client_tls = tls[1] if tls else None

    async def start(self, seams: Seams) -> None:
        """Listen and dial. Raises OSError if the address is taken."""
        self._seams = seams
        host, port = split_address(self.peers[self.name])
        self._listener = await seams.network.listen(
            host, port, lambda: Incoming(self), tls=self._server_tls
        )
        for peer in self.peers:
            if peer != self.name:
                self._tasks.append(asyncio.create_task(self._keep_linked(peer)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close()
        for link in (*self._links.values(), *self.incoming):
            link.abort()

    def send(self, peer: str, message: dict[str, Any]) -> bool:
        link = self._links.get(peer)
        return link is not None and link.post(message)

    def has_room(self, peer: str) -> bool:
        link = self._links.get(peer)
        return link is not None and link.has_room()

    async def _keep_linked(self, peer: str) -> None:
        shortest_s, longest_s = BACK_OFF_S
        back_off_s = shortest_s
        while True:
            try:
                link = await self._dial(peer)
            except OSError as error:
                _logger.debug("cannot reach %s: %s", peer, error)
                await self._seams.clock.sleep(back_off_s * self._seams.randomness.uniform(0.5, 1))
                back_off_s = min(2 * back_off_s, longest_s)
                continue
            back_off_s = shortest_s
            await self._serve(peer, link)

    async def _dial(self, peer: str) -> Outgoing:
        host, port = split_address(self.peers[peer])
        _, link = await self._seams.network.connect(
            host, port, Outgoing, tls=self._client_tls, server_name=host
        )
        assert isinstance(link, Outgoing)
        own_address = self.client_addresses[self.name]
        link.send((PROTOCOL_VERSION, self.cluster, self.name, peer, own_address))
        return link

    async def _serve(self, peer: str, link: Outgoing) -> None:
        self._links[peer] = link
        self.events.connected(peer)
        try:
            await link.lost
            await self._seams.clock.sleep(BACK_OFF_S[0])
        finally:
            del self._links[peer]
            link.abort()
            self.events.disconnected(peer)
