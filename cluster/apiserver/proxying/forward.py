"""One request to a backend, on a connection of its own."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from actors.seams import Seams
from cluster.apiserver.http.messages import Request, Response
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
        return await pass_on(
            request, connection, status, answered, prefix=backend.prefix, host=backend.address
        )
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
