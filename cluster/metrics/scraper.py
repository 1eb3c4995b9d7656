"""Asks every kubelet what its node and containers use, all at once but for a limit."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from actors.seams import Seams
from cluster.client import Client
from cluster.client.errors import ClientError
from cluster.client.paths import resource_of
from cluster.client.reflector import Reflector
from cluster.client.transport import Request, Transport
from cluster.machinery import meta
from cluster.metrics import exposition
from cluster.metrics.samples import Samples, measured

log = logging.getLogger(__name__)

PATH = "/metrics/resource"
PATH_ANNOTATION = "metrics.k8s.io/resource-metrics-path"
"""Of a Node, as upstream's metrics-server reads it: another path. "" says that it tells nothing."""
KUBELET_PORT = 10250
AT_ONCE = 32
TIMEOUT_S = 10.0
FIRST_S = 2.0
"""A rate needs two measurements: the second one comes soon."""
BACKOFF_MAX_S = 300.0
MAX_BYTES = 16 << 20


@dataclass
class _Node:
    """A kubelet to ask. `again_s`: not before this time, after `failures` in a row."""

    address: tuple[str, int]
    path: str = PATH
    failures: int = 0
    again_s: float = 0.0


class Scraper:
    """Follows the nodes, of which it keeps addresses only."""

    def __init__(
        self,
        client: Client,
        seams: Seams,
        tls: ssl.SSLContext,
        samples: Samples,
        resolution_s: float,
    ) -> None:
        """`tls`: with the certificate that kubelets are shown."""
        self._seams, self._tls, self._samples = seams, tls, samples
        self._resolution_s = resolution_s
        self._nodes: dict[str, _Node] = {}
        self._new = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []
        nodes = resource_of("nodes")
        self._reflector = Reflector(client, nodes, "", {}, self._replace, self._apply)
        self.rounds = 0

    @property
    def nodes(self) -> int:
        return len(self._nodes)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._reflector.run()), loop.create_task(self._run())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- which nodes there are -----------------------------------------------------------------

    def _replace(self, objects: Sequence[meta.Object]) -> None:
        names = {meta.name(obj) for obj in objects}
        self._nodes = {name: node for name, node in self._nodes.items() if name in names}
        for obj in objects:
            self._put(obj)

    def _apply(self, kind: str, obj: meta.Object) -> None:
        if kind == "DELETED":
            self._nodes.pop(meta.name(obj), None)
        elif kind in ("ADDED", "MODIFIED"):
            self._put(obj)

    def _put(self, obj: meta.Object) -> None:
        address, name = _address(obj), meta.name(obj)
        path = (obj["metadata"].get("annotations") or {}).get(PATH_ANNOTATION, PATH)
        known = self._nodes.get(name)
        if address is None or not path:
            self._nodes.pop(name, None)
        elif known is None or (known.address, known.path) != (address, path):
            self._nodes[name] = _Node(address, path)
            self._new.set()

    # -- asking --------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._new.clear()
            nodes = dict(self._nodes)
            self._samples.keep(nodes)
            await asyncio.gather(*(self._ask(name, node) for name, node in nodes.items()))
            self.rounds += bool(nodes)
            await self._pause()

    async def _pause(self) -> None:
        """Until the next round; a node that has just come is not kept waiting."""
        soon = min(FIRST_S, self._resolution_s)
        if self.rounds < 2:
            await self._seams.clock.sleep(soon)
            return
        waiter = asyncio.ensure_future(self._new.wait())
        timer = asyncio.ensure_future(self._seams.clock.sleep(self._resolution_s))
        try:
            await asyncio.wait({waiter, timer}, return_when=asyncio.FIRST_COMPLETED)
            if waiter.done():
                await self._seams.clock.sleep(soon)
        finally:
            waiter.cancel()
            timer.cancel()

    async def _ask(self, name: str, node: _Node) -> None:
        now_s = self._seams.clock.now()
        if now_s < node.again_s:
            return
        async with self._slots:
            try:
                text = await self._get(node)
            except (ClientError, OSError, ssl.SSLError, _NoMetricsError) as error:
                node.failures += 1
                wait_s = min(self._resolution_s * 2 ** min(node.failures, 8), BACKOFF_MAX_S)
                node.again_s = now_s + wait_s
                log.info("node %s does not tell what it uses: %s", name, error)
                return
        node.failures, node.again_s = 0, 0.0
        self._samples.put(name, measured(exposition.parse(text), self._seams.clock.wall()))

    async def _get(self, node: _Node) -> str:
        host, port = node.address
        transport = Transport((f"https://{host}:{port}",), self._seams, self._tls)
        try:
            answer = await transport.request(Request("GET", node.path, {}), TIMEOUT_S)
        finally:
            await transport.close()
        if answer.status != 200 or len(answer.body) > MAX_BYTES:
            raise _NoMetricsError(f"{answer.status} and {len(answer.body)} bytes at {node.path}")
        return answer.body.decode("utf-8", "replace")


class _NoMetricsError(Exception):
    """An answer that is none."""


def _address(node: meta.Object) -> tuple[str, int] | None:
    status = node.get("status") or {}
    found = {a["type"]: a["address"] for a in reversed(status.get("addresses") or [])}
    host = found.get("InternalIP") or found.get("Hostname")
    endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    return (str(host), int(endpoint.get("Port") or KUBELET_PORT)) if host else None
