"""One request to a backend, on a connection of its own."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.apiserver.http.body import BodyStream
from cluster.apiserver.http.messages import Request, Response, chunk
from cluster.apiserver.proxying import messages
from cluster.apiserver.proxying.answers import BackendError, pass_on
from cluster.client.connection import Connection, ConnectionLost
from cluster.client.timeouts import timeout

CONNECT_TIMEOUT_S = 10.0
UPGRADE_TIMEOUT_S = 30.0


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


async def forward(seams: Seams, request: Request, backend: Backend, target: str) -> Response | None:
    """The answer; None: it has been streamed, or another protocol has come and gone.

    Raises BackendError as long as nothing has been answered.
    """
    connection = await _dial(seams, backend)
    sending: asyncio.Task[None] | None = None
    try:
        sending = _send(request, connection, backend, target)
        limit_s = UPGRADE_TIMEOUT_S if messages.upgrade_of(request.headers) else None
        status, answered = await _head(seams, request, connection, limit_s)
        return await pass_on(
            request, connection, status, answered, prefix=backend.prefix, host=backend.address
        )
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
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


def _send(
    request: Request, connection: Connection, backend: Backend, target: str
) -> asyncio.Task[None] | None:
    """The request; what sends its body while that arrives, if it does."""
    headers = messages.request_headers(request, backend.address)
    body = request.body_stream
    length = request.headers.get("content-length", "")
    if body is not None:
        headers |= {"content-length": length} if length else {"transfer-encoding": "chunked"}
    elif request.body or request.method not in ("GET", "HEAD", "OPTIONS"):
        headers["content-length"] = str(len(request.body))
    try:
        sent = messages.encode_request(request.method, target, headers)
        connection.send(sent + request.body)
    except ConnectionLost as error:
        raise BackendError(str(error)) from error
    if body is None:
        return None
    return asyncio.create_task(_send_body(body, connection, chunked=not length))


async def _send_body(body: BodyStream, connection: Connection, *, chunked: bool) -> None:
    """A backend that wants no more has its reasons, and answers; a client that goes ends it."""
    try:
        while data := await body.read():
            await connection.write(chunk(data) if chunked else data)
        if chunked:
            await connection.write(b"0\r\n\r\n")
    except ConnectionLost:
        return
    except ConnectionError:
        connection.close()


async def _head(
    seams: Seams, request: Request, connection: Connection, limit_s: float | None
) -> tuple[int, dict[str, str]]:
    """Waited for as long as the client does, unless there is a limit."""
    answer = asyncio.create_task(connection.head())
    waited: list[asyncio.Future[Any]] = [answer]
    if request.closed is not None:
        waited.append(request.closed)
    if limit_s is not None:
        waited.append(asyncio.create_task(seams.clock.sleep(limit_s)))
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise BackendError("no answer in time")
        return answer.result()
    except ConnectionLost as error:
        raise BackendError(str(error)) from error
    finally:
        for task in waited:
            if task is not request.closed:
                task.cancel()
        await asyncio.gather(answer, return_exceptions=True)
