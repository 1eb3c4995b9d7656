"""Calls of webhooks: one HTTPS POST of JSON, to a URL or to a Service of the cluster."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from actors.seams import Seams
from cluster.client.connection import Connection, ConnectionLost
from cluster.client.timeouts import timeout
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest

MAX_ANSWER_BYTES = 16 << 20
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
    """Keeps one idle connection an endpoint."""

    def __init__(self, seams: Seams, resolve: ResolveService) -> None:
        self._seams, self._resolve = seams, resolve
        self._idle: dict[Endpoint, Connection] = {}

    async def call(
        self, config: Mapping[str, Any], body: Mapping[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        """The decoded answer. `config`: a WebhookClientConfig. Raises WebhookError."""
        endpoint = await self._endpoint(config)
        try:
            async with timeout(self._seams.clock, timeout_s):
                return await self._exchange(endpoint, json_codec.encode(dict(body)))
        except TimeoutError:
            text = f'Post "{endpoint.url}?timeout={timeout_s:g}s": context deadline exceeded'
            raise WebhookError(text) from None
        except (OSError, ConnectionLost, ssl.SSLError) as error:
            raise WebhookError(f'Post "{endpoint.url}": {error}') from error

    def close(self) -> None:
        for connection in self._idle.values():
            connection.close()
        self._idle.clear()

    async def _endpoint(self, config: Mapping[str, Any]) -> Endpoint:
        ca = base64.b64decode(config.get("caBundle") or "").decode()
        service = config.get("service")
        if not service:
            parts = urlsplit(config["url"])
            host = str(parts.hostname)
            return Endpoint(host, parts.port or HTTPS_PORT, parts.path or "/", host, ca)
        namespace, name = service["namespace"], service["name"]
        host = await self._resolve(namespace, name)
        path = service.get("path") or "/"
        port = int(service.get("port") or HTTPS_PORT)
        return Endpoint(host, port, path, f"{name}.{namespace}.svc", ca)

    async def _exchange(self, endpoint: Endpoint, body: bytes) -> dict[str, Any]:
        connection = self._idle.pop(endpoint, None)
        reused = connection is not None and not connection.closed
        if connection is None or not reused:
            connection = await self._dial(endpoint)
        try:
            status, answer = await self._post(connection, endpoint, body)
        except ConnectionLost:
            connection.close()
            if not reused:
                raise
            return await self._exchange(endpoint, body)  # it had been closed while it was idle
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._idle[endpoint] = connection
        else:
            connection.close()
        return self._decoded(status, answer)

    async def _post(
        self, connection: Connection, endpoint: Endpoint, body: bytes
    ) -> tuple[int, bytes]:
        head = (
            f"POST {endpoint.path} HTTP/1.1\r\nHost: {endpoint.server_name}:{endpoint.port}\r\n"
            "Content-Type: application/json\r\nAccept: application/json\r\n"
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
        _, connection = await self._seams.network.connect(
            endpoint.host,
            endpoint.port,
            Connection,
            tls=context,
            server_name=endpoint.server_name,
        )
        assert isinstance(connection, Connection)
        return connection
