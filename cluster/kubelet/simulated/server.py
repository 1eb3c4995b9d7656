"""The kubelet server of all nodes of a fleet: logs of simulated containers, from data."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from actors import tls
from actors.seams import Clock, Seams
from actors.seams.network import Listener
from cluster.kubelet import logs, pod_worker
from cluster.kubelet.http_server import Connection, Request, Response, once
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.server import May, flag, log_options
from cluster.kubelet.simulated import printed
from cluster.kubelet.simulated.pods import Pods, Record

Object = dict[str, Any]


class SimulatedServer:
    """Only who has a certificate of the cluster's CA and `may` is served."""

    def __init__(self, seams: Seams, pods: Pods, may: May) -> None:
        self._seams = seams
        self._pods = pods
        self._may = may
        self._listener: Listener | None = None
        self.port = 0

    async def start(self, host: str, port: int, tls_files: Mapping[str, str]) -> None:
        context = tls.server_context(tls_files) if tls_files else None
        self._listener = await self._seams.network.listen(
            host, port, lambda: Connection(self._handle), tls=context
        )
        self.port = self._listener.port

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.close()

    async def _handle(self, request: Request) -> Response:
        if not await self._may(request):
            return _text(403, "forbidden\n")
        if request.method != "GET":
            return _text(405, "method not allowed\n")
        if request.path == "/healthz":
            return _text(200, "ok")
        if request.path == "/pods":
            items = list(self._pods.objects())
            body = json.dumps({"kind": "PodList", "apiVersion": "v1", "items": items})
            return Response(200, once(body.encode()), "application/json")
        if request.path.startswith("/containerLogs/"):
            return self._logs(request)
        return _text(404, "404 page not found\n")

    def _logs(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        found = self._pods.find(parts[1], parts[2]) if len(parts) == 4 else None
        if found is None:
            return _text(404, "404 page not found\n")
        pod, record = found
        name = parts[3]
        if name not in {container["name"] for container in pod_worker.all_containers(pod)}:
            return _text(404, f'container "{name}" of pod "{parts[1]}/{parts[2]}" not found\n')
        try:
            options = log_options(request.query, self._seams.clock.wall())
        except ValueError as error:
            return _text(400, f"invalid log options: {error}\n")
        return self._answer(record, name, parts[2], options, flag(request.query, "previous"))

    def _answer(
        self, record: Record, name: str, pod: str, options: logs.LogOptions, previous: bool
    ) -> Response:
        attempts = [c for c in record.life.containers if c.name == name]
        if previous and len(attempts) < 2:
            what = f'"{name}" in pod "{pod}"'
            return _text(400, f"previous terminated container {what} not found\n")
        if not attempts:
            return _text(400, f'container "{name}" in pod "{pod}" is waiting to start\n')
        chosen = attempts[-2 if previous else -1]

        def latest() -> Container:
            """As it is now: it may have ended."""
            same = [c for c in record.life.containers if c.container_id == chosen.container_id]
            return same[0] if same else chosen

        return Response(200, _stream(record, latest, options, self._seams.clock))


async def _stream(
    record: Record, latest: Callable[[], Container], options: logs.LogOptions, clock: Clock
) -> AsyncIterator[bytes]:
    """What was printed until now and, with `follow`, what is printed until the container ends."""
    lines, left = record.behaviour.logs, options.limit_bytes
    number = printed.first(lines, latest(), clock.wall(), options.tail_lines)
    while True:
        container = latest()
        until = printed.count(lines, container, clock.wall())
        entries = (printed.entry(lines, container, n) for n in range(number, until))
        chunk = b"".join(logs.text_of(entry, options) for entry in entries)
        number = max(number, until)
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if left == 0 or not (options.follow and container.running):
            return
        await clock.sleep(max(0.05, min(lines.every_s, 1.0)))


def _text(status: int, text: str) -> Response:
    return Response(status, once(text.encode()))
