"""Calls of webhooks: one HTTPS POST of JSON, to a URL or to a Service of the cluster."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from actors.seams import Seams
from cluster.apiserver.webhook_identities import WebhookIdentities
from cluster.client.connection import Connection, ConnectionLost
from cluster.client.timeouts import timeout
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest

MAX_ANSWER_BYTES = 16 << 20
MAX_CALLS, MAX_IDLE, MAX_ENDPOINTS = 100, 10, 1000
"""Calls at once and idle connections, an endpoint; endpoints that are remembered."""
HTTPS_PORT = 443
ResolveService = Callable[[str, str], Awaitable[str]]
"""From (namespace, name) to the cluster IP. Raises WebhookError."""


class WebhookError(Exception):
    """There is no usable answer; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a webhook listens, and the name that its certificate must bear."""

    host: str
    port: int
    path: str
    server_name: str
    ca_pem: str

    @property
    def url(self) -> str:
        return f"https://{self.server_name}:{self.port}{self.path}"


class WebhookClient:
    """Keeps a few idle connections an endpoint, and bounds how many calls go to it at once."""

    def __init__(
        self, seams: Seams, resolve: ResolveService, identities: WebhookIdentities
    ) -> None:
        self._seams, self._resolve, self._identities = seams, resolve, identities
        self._idle: dict[Endpoint, list[Connection]] = {}
        self._slots: dict[Endpoint, asyncio.Semaphore] = {}

    async def call(
        self, config: Mapping[str, Any], body: Mapping[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        """The decoded answer. `config`: a WebhookClientConfig. Raises WebhookError."""
        endpoint = await self._endpoint(config)
        try:
            async with timeout(self._seams.clock, timeout_s), self._slot(endpoint):
                data = json_codec.encode(dict(body))
                return await self._exchange(endpoint, data, f"{timeout_s:g}s")
        except TimeoutError:
            text = f'Post "{endpoint.url}?timeout={timeout_s:g}s": context deadline exceeded'
            raise WebhookError(text) from None
        except (OSError, ConnectionLost, ssl.SSLError) as error:
            text = f'Post "{endpoint.url}?timeout={timeout_s:g}s": {_why(error, endpoint)}'
            raise WebhookError(text) from error

    def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _slot(self, endpoint: Endpoint) -> asyncio.Semaphore:
        """Endpoints that have not been called for long are forgotten as new ones come."""
        slot = self._slots.pop(endpoint, None) or asyncio.Semaphore(MAX_CALLS)
        self._slots[endpoint] = slot
        if len(self._slots) > MAX_ENDPOINTS:
            oldest = next(iter(self._slots))
            del self._slots[oldest]
            for connection in self._idle.pop(oldest, ()):
                connection.close()
        return slot

    def _take(self, endpoint: Endpoint) -> Connection | None:
        """An idle connection that is still open."""
        idle = self._idle.get(endpoint) or []
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        return None

    def _give_back(self, endpoint: Endpoint, connection: Connection) -> None:
        idle = self._idle.setdefault(endpoint, [])
        if connection.reusable and len(idle) < MAX_IDLE:
            idle.append(connection)
        else:
            connection.close()

    async def _endpoint(self, config: Mapping[str, Any]) -> Endpoint:
        ca = _ca(config.get("caBundle") or "")
        service = config.get("service")
        if not service:
            parts = urlsplit(config["url"])
            host = str(parts.hostname)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return Endpoint(host, parts.port or HTTPS_PORT, path, host, ca)
        namespace, name = service["namespace"], service["name"]
        host = await self._resolve(namespace, name)
        path = service.get("path") or "/"
        port = int(service.get("port") or HTTPS_PORT)
        return Endpoint(host, port, path, f"{name}.{namespace}.svc", ca)

    async def _exchange(self, endpoint: Endpoint, body: bytes, limit: str) -> dict[str, Any]:
        connection = self._take(endpoint)
        reused = connection is not None
        if connection is None:
            connection = await self._dial(endpoint)
        try:
            status, answer = await self._post(connection, endpoint, body, limit)
        except ConnectionLost:
            connection.close()
            if not reused:
                raise
            return await self._exchange(endpoint, body, limit)  # closed while it was idle
        except BaseException:
            connection.close()
            raise
        self._give_back(endpoint, connection)
        return self._decoded(status, answer)

    async def _post(
        self, connection: Connection, endpoint: Endpoint, body: bytes, limit: str
    ) -> tuple[int, bytes]:
        head = (
            f"POST {_with_limit(endpoint.path, limit)} HTTP/1.1\r\n"
            f"Host: {endpoint.server_name}:{endpoint.port}\r\n"
            "Content-Type: application/json\r\nAccept: application/json\r\n"
            f"{self._identities.header(endpoint.server_name, endpoint.port)}"
            f"User-Agent: kube-apiserver-admission\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.send(head.encode("latin-1") + body)
        status, _ = await connection.head()
        answer = b""
        while piece := await connection.chunk():
            answer += piece
            if len(answer) > MAX_ANSWER_BYTES:
                raise WebhookError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        return status, answer

    def _decoded(self, status: int, answer: bytes) -> dict[str, Any]:
        if status != 200:
            shown = answer[:1024].decode("utf-8", "replace").strip()
            raise WebhookError(f"the server answered {status}: {shown}")
        try:
            return json_codec.decode(answer)
        except BadRequest as error:
            raise WebhookError(f"the answer cannot be read: {error}") from error

    async def _dial(self, endpoint: Endpoint) -> Connection:
        context = ssl.create_default_context(cadata=endpoint.ca_pem or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._identities.present(endpoint.server_name, endpoint.port, context)
        _, connection = await self._seams.network.connect(
            endpoint.host,
            endpoint.port,
            Connection,
            tls=context,
            server_name=endpoint.server_name,
        )
        assert isinstance(connection, Connection)
        return connection


def _ca(bundle: str) -> str:
    try:
        return base64.b64decode(bundle).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise WebhookError(f"unable to load root certificates: {error}") from error


def _why(error: Exception, endpoint: Endpoint) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {endpoint.host}:{endpoint.port}: connect: connection refused"
    return str(error)


def _with_limit(path: str, limit: str) -> str:
    """The webhook is told how long it is waited for."""
    return f"{path}{'&' if '?' in path else '?'}timeout={limit}"
