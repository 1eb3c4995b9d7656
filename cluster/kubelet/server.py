"""The kubelet's HTTPS paths: logs, exec and the like, pods, health, and the pages of others."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from actors import tls
from actors.seams import Seams
from actors.seams.network import Listener
from cluster.kubelet import logs
from cluster.kubelet.http_server import Connection, Request, Response, Upgrade, once
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.runtimes.interactive import Interactive
from cluster.kubelet.stats.pages import Page
from cluster.kubelet.streams import routes
from cluster.kubelet.streams.routes import Streams
from cluster.machinery import meta

Object = dict[str, Any]


class Pods(Protocol):
    """What the server asks the kubelet."""

    def pod_objects(self) -> list[Object]: ...

    def container_attempts(self, namespace: str, pod: str, name: str) -> Sequence[Container] | None:
        """Attempts, oldest first; None if there is no such pod or container."""
        ...

    def pod_address(self, namespace: str, pod: str) -> str:
        """ "" if it has none yet, or there is no such pod."""
        ...


May = Callable[[Request], Awaitable[bool]]


async def anybody(request: Request) -> bool:
    """No restriction."""
    return True


class KubeletServer:
    def __init__(
        self,
        seams: Seams,
        pods: Pods,
        may: May = anybody,
        runtime: Interactive | None = None,
    ) -> None:
        """`may`: whether a request is served, of who has a certificate of the cluster's CA."""
        self._streams = Streams(seams, pods, runtime)
        self._connections: set[Connection] = set()
        self._may = may
        self._seams = seams
        self._pods = pods
        self._listener: Listener | None = None
        self.pages: dict[str, Page] = {}
        """What else is served, by path."""
        self._context: ssl.SSLContext | None = None
        self.port = 0

    async def start(self, host: str, port: int, tls_files: Mapping[str, str]) -> None:
        """Only who has a certificate of the cluster's CA is served."""
        context = self._context = tls.server_context(tls_files) if tls_files else None
        self._listener = await self._seams.network.listen(
            host, port, lambda: Connection(self._handle, self._connections), tls=context
        )
        self.port = self._listener.port

    def use_certificate(self, cert: str, key: str) -> None:
        """Be known by another certificate (files) from now on, on new connections."""
        if self._context is not None:
            self._context.load_cert_chain(cert, key)

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        await asyncio.gather(*(each.abort() for each in list(self._connections)))

    async def _handle(self, request: Request) -> Response | Upgrade:
        if not await self._may(request):
            return _text(403, "forbidden\n")
        if request.path.startswith(routes.PREFIXES) and request.method in ("GET", "POST"):
            return await self._streams.handle(request)
        if request.method != "GET":
            return _text(405, "method not allowed\n")
        if request.path.startswith("/containerLogs/"):
            return self._logs(request)
        fixed: dict[str, Callable[[], Response]] = {
            "/healthz": lambda: _text(200, "ok"),
            "/pods": self._pod_list,
        }
        if request.path in self.pages:
            body, content_type = await self.pages[request.path]()
            return Response(200, once(body), content_type)
        make = fixed.get(request.path)
        return make() if make else _text(404, "404 page not found\n")

    def _pod_list(self) -> Response:
        return _json({"kind": "PodList", "apiVersion": "v1", "items": self._pods.pod_objects()})

    def _logs(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        if len(parts) != 4:
            return _text(404, "404 page not found\n")
        namespace, pod, name = parts[1:]
        attempts = self._pods.container_attempts(namespace, pod, name)
        if attempts is None:
            return _text(404, f'container "{name}" of pod "{namespace}/{pod}" not found\n')
        try:
            options = log_options(request.query, self._seams.clock.wall())
        except ValueError as error:
            return _text(400, f"invalid log options: {error}\n")
        return self._stream(request, attempts, options, f'{name}" in pod "{pod}')

    def _stream(
        self,
        request: Request,
        attempts: Sequence[Container],
        options: logs.LogOptions,
        what: str,
    ) -> Response:
        previous = flag(request.query, "previous")
        if previous and len(attempts) < 2:
            return _text(400, f'previous terminated container "{what}" not found\n')
        if not attempts:
            return _text(400, f'container "{what}" is waiting to start\n')
        chosen = attempts[-2 if previous else -1]
        _, namespace, pod, name = request.path.strip("/").split("/")

        def latest() -> Container:
            now = self._pods.container_attempts(namespace, pod, name) or ()
            same = (c for c in now if c.container_id == chosen.container_id)
            return next(same, replace(chosen, running=False))

        return Response(200, self._printed(latest, options))

    def _printed(
        self, latest: Callable[[], Container], options: logs.LogOptions
    ) -> AsyncIterator[bytes]:
        """What the container has printed; `latest` tells how it is now."""
        path, clock = latest().log_path, self._seams.clock
        return logs.read(path, options, clock, lambda: latest().running)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean as the API writes it; present without a value means true."""
    return name in query and query[name].lower() not in ("false", "0", "f")


def log_options(query: Mapping[str, str], now_s: float) -> logs.LogOptions:
    """Raises ValueError for numbers and times that are none, or negative."""

    def number(name: str) -> int | None:
        value = int(query[name]) if query.get(name) else None
        if value is not None and value < 0:
            raise ValueError(f"{name} must not be negative")
        return value

    since_s: float | None = None
    if (seconds := number("sinceSeconds")) is not None:
        since_s = now_s - seconds
    if query.get("sinceTime"):
        since_s = meta.parse_time(query["sinceTime"])
    stream = query.get("stream", "all").lower()
    if stream not in ("all", "stdout", "stderr"):
        raise ValueError(f"there is no stream {stream!r}")
    return logs.LogOptions(
        follow=flag(query, "follow"),
        tail_lines=number("tailLines"),
        since_s=since_s,
        timestamps=flag(query, "timestamps"),
        limit_bytes=number("limitBytes"),
        stream="" if stream == "all" else stream,
    )


def _text(status: int, text: str) -> Response:
    return Response(status, once(text.encode()))


def _json(value: Any) -> Response:
    return Response(200, once(json.dumps(value).encode()), "application/json")
