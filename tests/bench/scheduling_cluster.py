"""Scheduling end to end in a whole cluster: from the creation of pods to their bindings."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any

import uvloop
from figures import tell
from http1 import Http1, run_all
from scheduling_cases import APART, PLAIN, SPREAD, Kind, node

from actors import collector
from cluster.client.config import ClientConfig

CONNECTIONS = 32
KNOWN: Sequence[tuple[str, Kind, int, float]] = (
    ("basic", PLAIN, 3000, 102.0),
    ("zone spread", SPREAD, 3000, 87.0),
    ("anti-affinity by host", APART, 900, 67.0),
)
"""Pods per 1,000 nodes, and pods per second of kube-scheduler 1.20 there."""


class Cluster:
    """`raykube up` in a home of its own. Its nodes have no kubelets, and nobody minds."""

    def __init__(self, home: str) -> None:
        self._environment = {**os.environ, "RAYKUBE_HOME": home, "RAYKUBE_NAME": "bench"}
        self.kubeconfig, self._home = f"{home}/kubeconfig", home

    def raykube(self, *arguments: str) -> None:
        command = [sys.executable, "-c", "from cluster.cli.main import main; main()", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._environment, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr or done.stdout)

    def up(self) -> None:
        self.raykube("up", "--nodes", "0", "--wait", "120s", "--kubeconfig", self.kubeconfig)


class Bench:
    def __init__(self, kubeconfig: str, nodes: int) -> None:
        config = ClientConfig.from_kubeconfig(kubeconfig)
        url = urllib.parse.urlsplit(config.servers[0])
        self._context = config.tls()
        self._host, self._port, self._nodes = str(url.hostname), int(url.port or 443), nodes

    async def run(self) -> None:
        assert self._context is not None
        links = [
            await Http1.connect(self._host, self._port, self._context) for _ in range(CONNECTIONS)
        ]
        made = (self._request("POST", "/api/v1/nodes", node(n)) for n in range(self._nodes))
        await run_all(links, made, 201)
        for name, kind, per_thousand, known in KNOWN:
            await self._measure(links, name, kind, per_thousand * self._nodes // 1000, known)
        for link in links:
            link.close()

    async def _measure(
        self, links: list[Http1], name: str, kind: Kind, count: int, known: float
    ) -> None:
        space = name.replace(" ", "-")
        created = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
        await run_all(links[:1], [self._request("POST", "/api/v1/namespaces", created)], 201)
        account = f"/api/v1/namespaces/{space}/serviceaccounts/default"
        while (await links[0].call(self._request("GET", account)))[0] != 200:
            await asyncio.sleep(0.1)
        path = f"/api/v1/namespaces/{space}/pods"
        start_s = time.perf_counter()
        pods = (kind.pod(f"pod-{number}", space) for number in range(count))
        load = await run_all(links, (self._request("POST", path, pod) for pod in pods), 201)
        while await self._unbound(links[0], path):
            await asyncio.sleep(0.05)
        duration_s = time.perf_counter() - start_s
        facts = {"nodes": self._nodes, "pods": count, "creates_per_s": round(load.per_s)}
        tell(f"cluster: {name}", "pods_per_s", count / duration_s, known, **facts)
        await self._clear(links, path, count)

    async def _unbound(self, link: Http1, path: str) -> bool:
        query = "?fieldSelector=spec.nodeName%3D&limit=1"
        _, body = await link.call(self._request("GET", path + query))
        return bool(json.loads(body)["items"])

    async def _clear(self, links: list[Http1], path: str, count: int) -> None:
        now = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        names = (f"{path}/pod-{number}" for number in range(count))
        await run_all(links, (self._request("DELETE", name, now) for name in names), 200)

    def _request(self, method: str, target: str, body: Any = None) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        head = [
            f"{method} {target} HTTP/1.1",
            f"Host: {self._host}",
            "User-Agent: bench",
            "Accept: application/json",
            *(
                ["Content-Type: application/json", f"Content-Length: {len(content)}"]
                if content
                else []
            ),
        ]
        return "\r\n".join([*head, "", ""]).encode() + content


def run(nodes: int) -> None:
    collector.calm()
    with tempfile.TemporaryDirectory(prefix="rk-") as home:
        cluster = Cluster(home)
        try:
            cluster.up()
            uvloop.install()
            asyncio.run(Bench(cluster.kubeconfig, nodes).run())
        finally:
            cluster.raykube("down", "-q")
