"""The answer of a backend: passed on as it comes, or the connection is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.proxying import messages
from cluster.client.connection import SWITCHING, Connection, ConnectionLost
from cluster.streaming.link import relay

WHOLE_BYTES = 64 * 1024
"""Answers up to this size are read before they are sent, so that they keep their length."""


class BackendError(Exception):
    """The backend could not be reached, or broke off before its answer."""


async def pass_on(
    request: Request,
    connection: Connection,
    status: int,
    answered: Mapping[str, str],
    *,
    prefix: str = "",
    host: str = "",
) -> Response | None:
    """What `head` has told of an answer, and what follows; closes nothing.

    None: it has been streamed, or another protocol has come and gone. `prefix` and `host`: see
    `messages.answer_headers`. Raises BackendError as long as nothing has been answered.
    """
    if status == SWITCHING:
        await _switch(request, connection, answered)
        return None
    headers = messages.answer_headers(answered, prefix, host)
    content_type = answered.get("content-type", "")
    length = answered.get("content-length", "")
    if request.method == "HEAD" or status in (204, 304):
        headers |= {"Content-Length": length} if length else {}
        return Response(status, b"", content_type, headers)
    if length.isdigit() and int(length) <= WHOLE_BYTES:
        return Response(status, await _whole(connection), content_type, headers)
    await _stream(request, connection, status, headers | {"Content-Type": content_type})
    return None


async def _switch(request: Request, connection: Connection, answered: Mapping[str, str]) -> None:
    """From here on only bytes are carried, until either side ends."""
    headers = {"Connection": "Upgrade", "Upgrade": answered.get("upgrade", "")}
    headers |= messages.answer_headers(answered, "", "")
    assert request.take_over is not None
    with contextlib.suppress(ConnectionError):  # the client has gone meanwhile
        await relay(request.take_over(headers), connection.upgraded())


async def _whole(connection: Connection) -> bytes:
    pieces = []
    try:
        while piece := await connection.chunk():
            pieces.append(piece)
    except ConnectionLost as error:
        raise BackendError(str(error)) from error
    return b"".join(pieces)


async def _stream(
    request: Request, connection: Connection, status: int, headers: Mapping[str, str]
) -> None:
    stream = request.open_stream(status, headers)

    def client_left(_: asyncio.Future[None]) -> None:
        connection.close()

    stream.closed.add_done_callback(client_left)
    try:
        while piece := await connection.chunk():
            stream.write(piece)
            await stream.drain()
    except (ConnectionLost, ConnectionError):
        stream.abort()  # a clean end of the chunks would say that this was all
    finally:
        stream.closed.remove_done_callback(client_left)
