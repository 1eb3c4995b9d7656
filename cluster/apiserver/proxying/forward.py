"""One request to a backend: its answer is passed on as it comes, or the connection is."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from actors.seams import Seams
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.proxying import messages
from cluster.client.connection import SWITCHING, Connection, ConnectionLost
from cluster.client.timeouts import timeout
from cluster.streaming.link import relay

CONNECT_TIMEOUT_S = 10.0
UPGRADE_TIMEOUT_S = 30.0
WHOLE_BYTES = 64 * 1024
"""Answers up to this size are read before they are sent, so that they keep their length."""


class BackendError(Exception):
    """The backend could not be reached, or broke off before its answer."""


@dataclass(frozen=True)
class Backend:
    """`prefix`: our path to the backend's root, for redirects; "" to leave them alone."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    prefix: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


async def forward(
    seams: Seams, request: Request, backend: Backend, target: str, method: str = ""
) -> Response | None:
    """The answer; None: it has been streamed, or another protocol has come and gone.

    Raises BackendError as long as nothing has been answered.
    """
    upgrade = messages.upgrade_of(request.headers)
    connection = await _dial(seams, backend)
    try:
        headers = messages.request_headers(request, backend.address)
        limit_s = UPGRADE_TIMEOUT_S if upgrade else None
        status, answered = await _ask(
            seams, connection, request, method or request.method, target, headers, limit_s
        )
        if status == SWITCHING:
            await _switch(request, connection, answered)
            return None
        return await _pass_on(request, connection, backend, status, answered)
    finally:
        connection.close()


async def _dial(seams: Seams, backend: Backend) -> Connection:
    connecting = seams.network.connect(
        backend.host, backend.port, Connection, tls=backend.tls, server_name=backend.host
    )
    try:
        async with timeout(seams.clock, CONNECT_TIMEOUT_S):
            _, connection = await connecting
    except TimeoutError:
        raise BackendError(f"dial tcp {backend.address}: i/o timeout") from None
    except ConnectionRefusedError as error:
        raise BackendError(f"dial tcp {backend.address}: connect: connection refused") from error
    except OSError as error:
        raise BackendError(f"dial tcp {backend.address}: {error}") from error
    assert isinstance(connection, Connection)
    return connection


async def _ask(
    seams: Seams,
    connection: Connection,
    request: Request,
    method: str,
    target: str,
    headers: Mapping[str, str],
    limit_s: float | None,
) -> tuple[int, dict[str, str]]:
    sent = dict(headers)
    if request.body or method not in ("GET", "HEAD", "OPTIONS"):
        sent["content-length"] = str(len(request.body))
    try:
        connection.send(messages.encode_request(method, target, sent) + request.body)
        if limit_s is None:
            return await connection.head()
        async with timeout(seams.clock, limit_s):
            return await connection.head()
    except ConnectionLost as error:
        raise BackendError(str(error)) from error
    except TimeoutError:
        raise BackendError("the backend did not answer in time") from None


async def _switch(request: Request, connection: Connection, answered: Mapping[str, str]) -> None:
    """From here on only bytes are carried, until either side ends."""
    headers = {"Connection": "Upgrade", "Upgrade": answered.get("upgrade", "")}
    headers |= messages.answer_headers(answered, "", "")
    assert request.take_over is not None
    with contextlib.suppress(ConnectionError):  # the client has gone meanwhile
        await relay(request.take_over(headers), connection.upgraded())


async def _pass_on(
    request: Request,
    connection: Connection,
    backend: Backend,
    status: int,
    answered: Mapping[str, str],
) -> Response | None:
    headers = messages.answer_headers(answered, backend.prefix, backend.address)
    content_type = answered.get("content-type", "")
    length = answered.get("content-length", "")
    if request.method == "HEAD" or status in (204, 304):
        headers |= {"Content-Length": length} if length else {}
        return Response(status, b"", content_type, headers)
    if length.isdigit() and int(length) <= WHOLE_BYTES:
        return Response(status, await _whole(connection), content_type, headers)
    await _stream(request, connection, status, headers | {"Content-Type": content_type})
    return None


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
