"""WebSockets in place of answers that go on: the handshake, and leaving when the client leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any

from cluster.apiserver.http.messages import Request
from cluster.machinery import status
from cluster.streaming import websocket
from cluster.streaming.link import Link
from cluster.streaming.websocket import HandshakeRefused, WebSocket


def accept(request: Request, protocols: Sequence[str]) -> tuple[Link, str]:
    """The upgraded connection and the subprotocol, "" if the client named none. 400 if it cannot
    be; raises ConnectionError."""
    try:
        protocol = websocket.negotiate(request.headers, protocols)
        headers = websocket.accept_headers(request.headers, protocol)
    except HandshakeRefused as error:
        raise status.bad_request(str(error)) from error
    assert request.take_over is not None
    return request.take_over(headers), protocol


async def while_open(socket: WebSocket, link: Link, work: Coroutine[Any, Any, None]) -> None:
    """Until the work is done or the client has left; then the connection is closed."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_until_closed(socket))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        link.close()


async def _until_closed(socket: WebSocket) -> None:
    with contextlib.suppress(ConnectionError):
        while await socket.receive() is not None:
            pass
