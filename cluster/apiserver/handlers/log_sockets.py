"""pods/log over a WebSocket: the text in binary messages, or in base64."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

from cluster.apiserver.http.messages import Request
from cluster.machinery import status
from cluster.streaming import websocket
from cluster.streaming.websocket import HandshakeRefused, WebSocket

BASE64 = "base64.binary.k8s.io"
PROTOCOLS = ("binary.k8s.io", BASE64)


async def send(request: Request, pieces: AsyncIterator[bytes]) -> None:
    """Until the end of the pieces, or until the client leaves. 400 for a bad handshake."""
    try:
        protocol = websocket.negotiate(request.headers, PROTOCOLS)
        headers = websocket.accept_headers(request.headers, protocol)
    except HandshakeRefused as error:
        raise status.bad_request(str(error)) from error
    assert request.take_over is not None
    link = request.take_over(headers)
    socket = WebSocket(link)
    sending = asyncio.create_task(_send(socket, pieces, protocol == BASE64))
    leaving = asyncio.create_task(_until_closed(socket))
    try:
        await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        link.close()


async def _send(socket: WebSocket, pieces: AsyncIterator[bytes], encoded: bool) -> None:
    async for piece in pieces:
        if encoded:
            await socket.send_text(base64.b64encode(piece))
        else:
            await socket.send(piece)
    await socket.close()


async def _until_closed(socket: WebSocket) -> None:
    with contextlib.suppress(ConnectionError):
        while await socket.receive() is not None:
            pass
