"""WebSocket (RFC 6455) on an upgraded connection, the server's side."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage

from cluster.streaming.link import Link

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NORMAL, PROTOCOL_ERROR, TOO_LARGE = 1000, 1002, 1009


class HandshakeRefused(Exception):
    """The request is no WebSocket handshake, or asks for what there is not; for a 400 or 403."""


def wanted(headers: Mapping[str, str]) -> bool:
    """Whether a request (header names in lower case) asks for a WebSocket."""
    return headers.get("upgrade", "").strip().lower() == "websocket"


def offered(headers: Mapping[str, str]) -> list[str]:
    """The subprotocols that the client knows, in its order of preference."""
    listed = headers.get("sec-websocket-protocol", "").split(",")
    return [name.strip() for name in listed if name.strip()]


def negotiate(headers: Mapping[str, str], supported: Sequence[str]) -> str:
    """The client's first subprotocol that is supported; "" if it names none at all.

    Raises HandshakeRefused.
    """
    names = offered(headers)
    found = next((name for name in names if name in supported), "")
    if names and not found:
        raise HandshakeRefused(f"unable to upgrade: none of {names} is supported ({supported})")
    return found


def accept_headers(headers: Mapping[str, str], subprotocol: str) -> dict[str, str]:
    """The headers of the 101 answer. Raises HandshakeRefused."""
    key = headers.get("sec-websocket-key", "").strip()
    if headers.get("sec-websocket-version", "").strip() != "13" or not key:
        raise HandshakeRefused("unable to upgrade: a WebSocket of version 13 with a key is needed")
    digest = hashlib.sha1((key + _GUID).encode()).digest()
    answer = {"Upgrade": "websocket", "Connection": "Upgrade"}
    answer["Sec-WebSocket-Accept"] = base64.b64encode(digest).decode()
    if subprotocol:
        answer["Sec-WebSocket-Protocol"] = subprotocol
    return answer


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a message, as it arrived: `first` and `last` say where messages begin and end."""

    data: bytes
    first: bool
    last: bool


class WebSocket:
    """Messages are passed on in pieces, so none is ever held as a whole."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._protocol = Connection(ConnectionType.SERVER)
        self._pending: list[Piece] = []
        self._at_start = True
        self._over = False

    async def receive(self) -> Piece | None:
        """The next piece; None when the other side has closed, or broke the protocol."""
        while not self._pending and not self._over:
            data = await self._link.read()
            if not data:
                self._over = True
                break
            self._protocol.receive_data(data)
            await self._take_events()
        return self._pending.pop(0) if self._pending else None

    async def _take_events(self) -> None:
        for event in self._protocol.events():
            if isinstance(event, Message):
                data = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
                self._pending.append(Piece(data, self._at_start, event.message_finished))
                self._at_start = event.message_finished
            elif isinstance(event, Ping) and self._protocol.state is ConnectionState.OPEN:
                await self._send(event.response(), urgent=True)
            elif isinstance(event, CloseConnection):
                self._over = True
                await self._finish(event)

    async def _finish(self, event: CloseConnection) -> None:
        """Answer a closing frame; a breach of the protocol is told with its own code."""
        if self._protocol.state is ConnectionState.REMOTE_CLOSING:
            await self._send(event.response(), urgent=True)
        elif self._protocol.state is ConnectionState.OPEN:
            await self._send(CloseConnection(event.code, event.reason), urgent=True)

    async def send(self, data: bytes, *, urgent: bool = False) -> None:
        """One binary message. Raises ConnectionError."""
        await self._send(BytesMessage(data), urgent=urgent)

    async def send_text(self, data: bytes) -> None:
        await self._send(TextMessage(data.decode()))

    async def ping(self) -> None:
        await self._send(Ping(), urgent=True)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, once; the caller closes the link."""
        if self._protocol.state is ConnectionState.OPEN:
            await self._send(CloseConnection(code, reason), urgent=True)

    async def _send(
        self,
        event: BytesMessage | TextMessage | Ping | Pong | CloseConnection,
        *,
        urgent: bool = False,
    ) -> None:
        if (
            not isinstance(event, Pong | CloseConnection)
            and self._protocol.state is not ConnectionState.OPEN
        ):
            raise ConnectionResetError("the WebSocket is closed")
        await self._link.write(self._protocol.send(event), urgent=urgent)


class WebSocketChannel:
    """The bytes of binary messages, as a `Channel`: other protocols are tunnelled so."""

    def __init__(self, socket: WebSocket, link: Link) -> None:
        self._socket, self._link = socket, link

    async def read(self) -> bytes:
        while (piece := await self._socket.receive()) is not None:
            if piece.data:
                return piece.data
        return b""

    async def write(self, data: bytes, *, urgent: bool = False) -> None:
        await self._socket.send(data, urgent=urgent)

    def close(self) -> None:
        self._link.close()
