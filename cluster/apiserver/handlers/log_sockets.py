"""pods/log over a WebSocket: the text in binary messages, or in base64."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

from cluster.apiserver.handlers import sockets
from cluster.apiserver.http.messages import Request
from cluster.streaming.websocket import WebSocket

BASE64 = "base64.binary.k8s.io"
PROTOCOLS = ("binary.k8s.io", BASE64)


async def send(request: Request, pieces: AsyncIterator[bytes]) -> None:
    """Until the end of the pieces, or until the client leaves. 400 for a bad handshake."""
    link, protocol = sockets.accept(request, PROTOCOLS)
    socket = WebSocket(link)
    await sockets.while_open(socket, link, _send(socket, pieces, protocol == BASE64))


async def _send(socket: WebSocket, pieces: AsyncIterator[bytes], encoded: bool) -> None:
    async for piece in pieces:
        if encoded:
            await socket.send_text(base64.b64encode(piece))
        else:
            await socket.send(piece)
    await socket.close()
