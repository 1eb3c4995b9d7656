"""Links between members: each dials the others and sends on its own connection only.

So a link has one direction, one sender and numbered messages; nothing has to be agreed on when
both dial at once. What a link carries is msgpack; who speaks is fixed by the first message and,
with TLS, by the certificate. The only thing that ever comes back is why a link is refused.

Who is dialled follows the configuration. Who may dial is anybody of the same store: a member that
was away may not know the leader yet (thesis 4.1). Only those that were removed are refused.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection, Mapping
from typing import Any

from actors.seams import Seams
from actors.seams.network import Listener
from raftstore.errors import InvalidRequest
from raftstore.framing import FrameProtocol
from raftstore.identity import Organizations, is_allowed
from raftstore.raft.folder import Identity
from raftstore.raft.membership import FolderLost, MemberRemoved, Peer

MAX_BUFFERED_BYTES = 32 << 20
BACK_OFF_S = (0.05, 1.0)
DIAL_TIMEOUT_S = 2.0
SHORT_LIFE_S = 1.0
"""A link that ends sooner was refused, or as good as."""
CLOSING_S = 1.0
PROTOCOL_VERSION = 2
_REFUSALS: dict[str, type[Exception]] = {"removed": MemberRemoved, "lost": FolderLost}
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
        introduced: Callable[[], None],
        adopted: Callable[[int, int], None],
        refused: Callable[[Exception], None],
    ) -> None:
        self.message, self.flushed = message, flushed
        self.connected, self.disconnected = connected, disconnected
        self.silenced = silenced
        """A peer's own connection to us was lost: it may have died."""
        self.introduced = introduced
        """A peer told of itself: see `PeerTransport.known`."""
        self.adopted = adopted
        """A member of this cluster says which member we are; `identity` must be set."""
        self.refused = refused
        """The others do not want this member: MemberRemoved or FolderLost."""


class Incoming(FrameProtocol):
    """The receiving end of a link."""

    def __init__(self, owner: PeerTransport) -> None:
        super().__init__()
        self._owner = owner
        self.peer = ""
        self._last_sequence = 0

    def opened(self) -> None:
        self._owner.incoming[self] = None
        if self.transport is not None and not is_allowed(self.transport, self._owner.allowed):
            _logger.warning("refused a link: its certificate is not of the store's members")
            self.abort()

    def received(self, message: Any) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if not self.peer:
            self._greeted(message)
            return
        try:
            sequence, body = message
        except (TypeError, ValueError) as error:
            raise InvalidRequest("malformed message on a link") from error
        if sequence != self._last_sequence + 1:
            raise InvalidRequest("message lost on a link")
        self._last_sequence = sequence
        self._owner.events.message(self.peer, body)

    def _greeted(self, message: Any) -> None:
        try:
            self._owner.greeted(self, message)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise InvalidRequest("malformed greeting") from error

    def refuse(self, reason: str) -> None:
        """Tell the sender why, and end the link."""
        self.send(("refused", reason))
        self.close()

    def flushed(self) -> None:
        self._owner.events.flushed()

    def closed(self, error: Exception | None) -> None:
        self._owner.left(self)


class Outgoing(FrameProtocol):
    """The sending end of a link."""

    def __init__(self, refused: Callable[[str], None]) -> None:
        super().__init__()
        self._sequence = 0
        self._refused = refused
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def post(self, message: dict[str, Any]) -> bool:
        """Whether it was taken; a link that lags too far drops (Raft sends again)."""
        if self.transport is None or not self.has_room():
            return False
        self._sequence += 1
        self.send((self._sequence, message))
        self.flush()  # now: the sender's own disk is busy next, and others can work meanwhile
        return True

    def has_room(self) -> bool:
        transport = self.transport
        return transport is not None and transport.get_write_buffer_size() < MAX_BUFFERED_BYTES

    def received(self, message: Any) -> None:
        if not isinstance(message, list) or message[:1] != ["refused"]:
            raise InvalidRequest("unexpected answer on a link")
        self._refused(str(message[1]))

    def closed(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class PeerTransport:
    """All links of one member. `me`: what it tells the others of itself."""

    def __init__(
        self,
        me: Peer,
        events: Events,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
        allowed: Organizations,
    ) -> None:
        self.me, self.events, self.allowed = me, events, allowed
        self.identity: Identity | None = None
        self.known: dict[str, Peer] = {}
        """What those that are linked to this member told of themselves."""
        self.incoming: dict[Incoming, None] = {}
        self._members: Mapping[str, Peer] = {}
        self._removed: frozenset[str] = frozenset()
        self._targets: dict[str, tuple[str, ...]] = {}
        self._links: dict[str, Outgoing] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._listener: Listener | None = None
        self._server_tls = tls[0] if tls else None
        self._client_tls = tls[1] if tls else None

    async def listen(self, seams: Seams, address: str) -> None:
        """Raises OSError if the address is taken."""
        self._seams = seams
        host, port = split_address(address)
        self._listener = await seams.network.listen(
            host, port, lambda: Incoming(self), tls=self._server_tls
        )

    async def stop(self) -> None:
        tasks = [*self._tasks.values(), *self._ending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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

    # ---- who is linked

    def follow(self, members: Mapping[str, Peer], removed: Collection[str]) -> None:
        """Dial these from now on; refuse those that were removed."""
        self._members, self._removed = members, frozenset(removed)
        for link in [link for link in self.incoming if link.peer in self._removed]:
            link.refuse("removed")
        self._retarget()

    def _retarget(self) -> None:
        """Besides members, dial those that dialled us and are not known to be members yet."""
        strangers = {
            peer: told.peer_addresses
            for peer, told in self.known.items()
            if peer not in self._members and peer not in self._removed
        }
        self._targets = strangers | {
            peer: known.peer_addresses
            for peer, known in self._members.items()
            if self.identity is None or peer != self.identity.key
        }
        for peer in [peer for peer in self._tasks if peer not in self._targets]:
            self._drop(peer)
        for peer in self._targets:
            if peer not in self._tasks:
                self._tasks[peer] = asyncio.create_task(self._keep_linked(peer))

    def _drop(self, peer: str) -> None:
        task = self._tasks.pop(peer)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    def greeted(self, link: Incoming, greeting: Any) -> None:
        """The first message of a link. Raises InvalidRequest if it is none of ours."""
        version, cluster, sender, receiver, told = greeting
        if self.identity is None and version == PROTOCOL_VERSION:
            self.events.adopted(cluster, int(receiver, 16))
        own = self.identity
        if own is None or (version, cluster, receiver) != (PROTOCOL_VERSION, own.cluster, own.key):
            _logger.warning("refused a link from %s: not of this store, or to another", sender)
            raise InvalidRequest("not a link to this member")
        peer = Peer.unpack(told)
        known = self._members.get(sender)
        if sender in self._removed:
            link.refuse("removed")
        elif known is not None and known.incarnation not in (0, peer.incarnation):
            link.refuse("lost")
        else:
            link.peer = sender
            self.known[sender] = peer
            self._retarget()
            self.events.introduced()

    def left(self, link: Incoming) -> None:
        self.incoming.pop(link, None)
        if not link.peer:
            return
        if link.peer not in {other.peer for other in self.incoming}:
            self.known.pop(link.peer, None)
            self._retarget()
        self.events.silenced(link.peer)

    # ---- dialling

    async def _keep_linked(self, peer: str) -> None:
        shortest_s, longest_s = BACK_OFF_S
        back_off_s, attempt = shortest_s, 0
        while peer in self._targets:
            addresses = self._targets[peer]
            began_s = self._seams.clock.now()
            try:
                link = await self._dial(peer, addresses[attempt % len(addresses)])
            except (OSError, TimeoutError) as error:
                _logger.debug("cannot reach %s: %s", peer, error)
            else:
                await self._serve(peer, link)
                if self._seams.clock.now() - began_s > SHORT_LIFE_S:
                    back_off_s = shortest_s
            attempt += 1
            await self._seams.clock.sleep(back_off_s * self._seams.randomness.uniform(0.5, 1))
            back_off_s = min(2 * back_off_s, longest_s)

    async def _dial(self, peer: str, address: str) -> Outgoing:
        assert self.identity is not None
        host, port = split_address(address)
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            _, link = await self._seams.network.connect(
                host,
                port,
                lambda: Outgoing(self._was_refused),
                tls=self._client_tls,
                server_name=host,
            )
        assert isinstance(link, Outgoing)
        own = self.identity
        link.send((PROTOCOL_VERSION, own.cluster, own.key, peer, self.me.pack()))
        return link

    def _was_refused(self, reason: str) -> None:
        refusal = _REFUSALS.get(reason)
        if refusal is None:
            raise InvalidRequest(f"refused for an unknown reason: {reason}")
        self.events.refused(refusal())

    async def _serve(self, peer: str, link: Outgoing) -> None:
        self._links[peer] = link
        self.events.connected(peer)
        try:
            await link.lost
        finally:
            if self._links.get(peer) is link:
                del self._links[peer]
            if link.transport is not None:  # what was sent last still arrives
                link.transport.close()
                self._seams.clock.call_later(CLOSING_S, link.abort)
            self.events.disconnected(peer)
