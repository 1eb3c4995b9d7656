"""HTTPS requests to what an administrator has configured: issuers, webhooks by kubeconfig."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from actors.seams import Seams
from cluster.client.config import ClientConfig
from cluster.client.errors import ClientError
from cluster.client.transport import Request, Transport
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest

TIMEOUT_S = 10.0
MAX_BYTES = 4 << 20


class RemoteError(Exception):
    """There is no usable answer; the message says why."""


async def get_json(seams: Seams, url: str, authority: str = "") -> dict[str, Any]:
    """The JSON object at an https URL; `authority`: PEM, or "" for the machine's own.

    Raises RemoteError.
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise RemoteError(f"{url}: only https is used")
    context = ssl.create_default_context(cadata=authority or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    transport = Transport((f"https://{parts.netloc}",), seams, context)
    try:
        return await _exchange(transport, "GET", parts.path or "/", {}, b"")
    finally:
        await transport.close()


class KubeconfigWebhook:
    """Posts objects to the current cluster of a kubeconfig file, as its current user."""

    def __init__(self, seams: Seams, path: str, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        config = ClientConfig.from_kubeconfig(path)
        (url,) = config.servers
        parts = urlsplit(url)
        self._target = parts.path or "/"
        if parts.query:
            self._target += f"?{parts.query}"
        self._headers = {"Authorization": f"Bearer {config.token}"} if config.token else {}
        self._transport = Transport((f"https://{parts.netloc}",), seams, config.tls())

    async def post(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """The object that comes back. Raises RemoteError."""
        headers = {"Content-Type": "application/json", **self._headers}
        body = json_codec.encode(dict(obj))
        try:
            return await self._ask(headers, body)
        except RemoteError:  # a kept connection may have ended; a question may be asked twice
            return await self._ask(headers, body)

    async def tell(self, obj: Mapping[str, Any]) -> None:
        """Post an object, whatever comes back. Raises RemoteError."""
        headers = {"Content-Type": "application/json", **self._headers}
        request = Request("POST", self._target, headers, json_codec.encode(dict(obj)))
        try:
            answer = await self._transport.request(request, self._timeout_s)
        except (ClientError, OSError, ssl.SSLError) as error:
            raise RemoteError(str(error)) from error
        if not 200 <= answer.status < 300:
            raise RemoteError(f"{self._target}: the server answered {answer.status}")

    async def _ask(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        return await _exchange(
            self._transport, "POST", self._target, headers, body, self._timeout_s
        )


async def _exchange(
    transport: Transport,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    request = Request(method, target, {"Accept": "application/json", **headers}, body)
    try:
        answer = await transport.request(request, timeout_s)
    except (ClientError, OSError, ssl.SSLError) as error:
        raise RemoteError(str(error)) from error
    if answer.status not in (200, 201):
        raise RemoteError(f"{target}: the server answered {answer.status}")
    if len(answer.body) > MAX_BYTES:
        raise RemoteError(f"{target}: the answer is larger than {MAX_BYTES} bytes")
    try:
        return json_codec.decode(answer.body)
    except BadRequest as error:
        raise RemoteError(f"{target}: {error}") from error
