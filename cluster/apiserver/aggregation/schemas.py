"""OpenAPI of other servers: asked for when a client asks, and then kept for a while."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.seams import Seams
from cluster.apiserver.aggregation import messages
from cluster.apiserver.aggregation.peers import Peers
from cluster.apiserver.aggregation.registered import Registered
from cluster.apiserver.aggregation.services import Unresolved
from cluster.apiserver.proxying.answers import BackendError
from cluster.machinery import openapi
from cluster.machinery.apiservices import ApiService
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest

log = logging.getLogger(__name__)

KEPT_S = 30.0
TIMEOUT_S = 10.0
V2, V3 = "/openapi/v2", "/openapi/v3"


@dataclass
class _Server:
    """What one server said last. `v2` is its document, trimmed, as JSON."""

    asked_s: dict[str, float] = field(default_factory=dict)
    index: dict[str, str] = field(default_factory=dict)
    v2: bytes = b""
    made: dict[str, bytes] = field(default_factory=dict)


class RemoteSchemas:
    """By server: the Service of one or more APIServices. `generation` changes with what is said."""

    def __init__(self, seams: Seams, registered: Registered, peers: Peers) -> None:
        self._seams, self._registered, self._peers = seams, registered, peers
        self._servers: dict[object, _Server] = {}
        self.generation = 0

    async def refresh(self, path: str) -> None:
        """Ask those whose answer is old. Who does not answer keeps its last one."""
        form = V2 if path.startswith(V2) else V3
        behind: dict[object, list[ApiService]] = {}
        for service in self._registered.remote:
            if service.available:
                behind.setdefault(service.service, []).append(service)
        for gone in self._servers.keys() - behind.keys():
            del self._servers[gone]
            self.generation += 1
        await asyncio.gather(*(self._ask(form, services) for services in behind.values()))

    def index(self) -> dict[str, str]:
        """Version 3: `apis/GROUP/VERSION` -> the URL that the index gives, with its hash."""
        return {
            root: url for server in self._servers.values() for root, url in server.index.items()
        }

    def document(self, root: str) -> bytes | None:
        """Version 3 of a server that has version 2 only; None: the server is to be asked."""
        for server in self._servers.values():
            if root in server.made:
                return server.made[root]
        return None

    def v2_documents(self) -> list[dict[str, Any]]:
        return [json_codec.decode(server.v2) for server in self._servers.values() if server.v2]

    async def _ask(self, form: str, services: Sequence[ApiService]) -> None:
        server = self._servers.setdefault(services[0].service, _Server())
        now_s = self._seams.clock.now()
        if now_s - server.asked_s.get(form, -KEPT_S) < KEPT_S:
            return
        server.asked_s[form] = now_s
        before = server.index, server.v2, server.made
        try:
            if form == V2:
                await self._ask_v2(server, services)
            else:
                await self._ask_v3(server, services)
        except (Unresolved, BackendError, TimeoutError, BadRequest, ValueError, TypeError) as error:
            log.info("OpenAPI of %s is not known: %s", services[0].name, error)
        if before != (server.index, server.v2, server.made):
            self.generation += 1

    async def _ask_v3(self, server: _Server, services: Sequence[ApiService]) -> None:
        status, body = await self._get(services[0], V3)
        roots = {s.root.lstrip("/") for s in services}
        if status == 200:
            paths: Mapping[str, Any] = json_codec.decode(body).get("paths") or {}
            server.index = {r: paths[r]["serverRelativeURL"] for r in roots & paths.keys()}
            server.made = {}
        elif status == 404:
            await self._ask_v2(server, services)
            self._make(server, roots)

    def _make(self, server: _Server, roots: set[str]) -> None:
        if not server.v2:
            return
        document = json_codec.decode(server.v2)
        server.index, server.made = {}, {}
        for root in roots:
            part = openapi.trimmed(document, [f"/{root}"])
            made = json_codec.encode(openapi.upgraded(part))
            tag = hashlib.sha256(made).hexdigest().upper()
            server.made[root], server.index[root] = made, f"{V3}/{root}?hash={tag}"

    async def _ask_v2(self, server: _Server, services: Sequence[ApiService]) -> None:
        status, body = await self._get(services[0], V2)
        if status != 200:
            return
        part = openapi.trimmed(json_codec.decode(body), [s.root for s in services])
        openapi.encode_v2_protobuf(part)  # raises for what cannot be told in that form
        server.v2 = json_codec.encode(part)

    async def _get(self, service: ApiService, path: str) -> tuple[int, bytes]:
        message = messages.asking(path, self._peers.host(service))
        status, _, body = await self._peers.ask(service, message, TIMEOUT_S)
        return status, body
