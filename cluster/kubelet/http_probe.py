"""One HTTP request, for httpGet probes, hooks and shipped logs; a TCP connect for tcpSocket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import cast

import httptools

from actors.seams import Network

_BODY_SIZE_BYTES_MAX = 10 * 1024


class _Response(asyncio.Protocol):
    """Collects status, Location and the start of the body. Any status ends the wait."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.location = ""
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(OSError(f"malformed HTTP response: {error}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"location":
            self.location = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body[: _BODY_SIZE_BYTES_MAX - len(self.body)]

    def on_message_complete(self) -> None:
        self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._parser.get_status_code():
            self._finish()  # a body that ends with the connection
        else:
            self._fail(exc or ConnectionResetError("connection closed without a response"))

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(self._parser.get_status_code())

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def get(
    network: Network,
    host: str,
    port: int,
    path: str,
    *,
    https: bool = False,
    headers: Iterable[tuple[str, str]] = (),
) -> tuple[int, bytes]:
    """(status, start of the body). Raises OSError. The server's certificate is not checked."""
    tls = _unchecked() if https else None
    return await request(network, host, port, path, headers=headers, tls=tls)


async def request(
    network: Network,
    host: str,
    port: int,
    path: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    tls: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """(status, start of the body), on a connection of its own. Raises OSError."""
    lines = {"host": f"{host}:{port}", "user-agent": "kube-probe/1.34", "accept": "*/*"}
    lines |= {name.lower(): value for name, value in headers}
    if body:
        lines["content-length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    data = f"{method} {path} HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode() + body
    transport, response = await network.connect(
        host, port, lambda: _Response(data), tls=tls, server_name=host if tls else None
    )
    try:
        return await response.done, response.body
    finally:
        transport.abort()


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def tcp_connect(network: Network, host: str, port: int) -> None:
    """Raises OSError unless the connection is accepted."""
    transport, _ = await network.connect(host, port, asyncio.Protocol)
    transport.abort()
