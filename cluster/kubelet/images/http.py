"""HTTP GET for registries: redirects, Range, bounded bodies; connections are not kept."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from actors.seams import Network
from cluster.client.connection import Connection, ConnectionLost
from cluster.kubelet.images.settings import Endpoint

CONNECT_S = 15.0
SILENT_S = 60.0
"""A server that sends nothing for so long is given up."""
_REDIRECTS_MAX = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class Unanswered(Exception):
    """No answer, or not all of it."""


@dataclass
class Answer:
    """Head of an answer; its body comes piece by piece. `redirected`: another host has sent it."""

    status: int
    headers: Mapping[str, str]
    connection: Connection
    redirected: bool = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises Unanswered if it breaks off."""
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    data = await self.connection.chunk()
                if not data:
                    return
                yield data
        except TimeoutError:
            raise Unanswered(f"nothing came for {SILENT_S:.0f} s") from None
        except ConnectionLost as error:
            raise Unanswered(f"the connection broke off: {error}") from None

    async def body(self, size_bytes_max: int) -> bytes:
        """All of it. Raises Unanswered, also for more than is allowed."""
        data = bytearray()
        async for chunk in self.chunks():
            data += chunk
            if len(data) > size_bytes_max:
                raise Unanswered(f"the answer is longer than {size_bytes_max} bytes")
        return bytes(data)


@contextlib.asynccontextmanager
async def get(
    network: Network, endpoint: Endpoint, target: str, headers: Mapping[str, str]
) -> AsyncIterator[Answer]:
    """Follows redirects, to other hosts without the Authorization. Raises Unanswered."""
    sent, at = dict(headers), endpoint
    for _ in range(_REDIRECTS_MAX):
        connection = await _connect(network, at)
        try:
            answer = await _ask(connection, at, target, sent)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                yield replace(answer, redirected=at != endpoint)
                return
            url = urljoin(_url(at, target), answer.headers["location"])
            before, (at, target) = at, _target(url, endpoint)
            if (before.host, before.port) != (at.host, at.port):
                sent.pop("authorization", None)
        finally:
            connection.close()
    raise Unanswered(f"more than {_REDIRECTS_MAX} redirects")


async def _connect(network: Network, at: Endpoint) -> Connection:
    try:
        context = _context(at) if at.tls else None
        name = at.host if at.tls else None
        async with asyncio.timeout(CONNECT_S):
            _, connection = await network.connect(
                at.host, at.port, Connection, tls=context, server_name=name
            )
    except TimeoutError:
        raise Unanswered(f"{at.authority} does not answer") from None
    except OSError as error:
        raise Unanswered(f"{at.authority}: {error}") from None
    assert isinstance(connection, Connection)
    return connection


async def _ask(
    connection: Connection, at: Endpoint, target: str, headers: Mapping[str, str]
) -> Answer:
    lines = {"host": at.authority, "user-agent": "raykube", "connection": "close"} | dict(headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    try:
        connection.send(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        async with asyncio.timeout(SILENT_S):
            status, found = await connection.head()
    except TimeoutError:
        raise Unanswered(f"{at.authority} sent nothing for {SILENT_S:.0f} s") from None
    except ConnectionLost as error:
        raise Unanswered(f"{at.authority}: {error}") from None
    return Answer(status, dict(found), connection)


def _context(at: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=at.ca or None)
    if at.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _url(at: Endpoint, target: str) -> str:
    return f"{'https' if at.tls else 'http'}://{at.authority}{target}"


def _target(url: str, like: Endpoint) -> tuple[Endpoint, str]:
    """Raises Unanswered for what is no URL of HTTP, and for a step down to plain HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise Unanswered("a redirect to something that is not HTTP")
    tls = parts.scheme == "https"
    if like.tls and not tls:
        raise Unanswered("a redirect from HTTPS to plain HTTP")
    try:
        port = parts.port or (443 if tls else 80)
    except ValueError:
        raise Unanswered("a redirect to an invalid port") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(parts.hostname, port, tls, like.insecure, like.ca), path.replace(" ", "%20")
