"""The API server of a whole cluster: requests per second, latency, fan-out and memory.

usage: scripts/bench api [--pods 3200] [--seconds 4]

TLS, client certificates and RBAC are on; the store has three members. Nobody may have a real
kube-apiserver here, so the figures beside ours are known ones: kube-apiserver 1.20 on 3 members of
etcd 3.4, 2 cores, load generator beside it, measured on another day and machine of this kind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import uvloop
from etcd import resident_bytes
from figures import Load, tell
from http1 import Http1, run_all
from pods import PODS, Requests, pod
from watchers import compile_reader, watching

from actors import collector
from cluster.client.config import ClientConfig

CONNECTIONS = 64
WATCHERS = (100, 1000)
WATCHED = 50
"""Pods that each of them watches."""
KNOWN = {
    "creates": 480.0,
    "serial create": 8.5,
    "gets": 1790.0,
    "list": 339.0,
    "list at any revision": 159.0,
    "status patches": 405.0,
    "watch deliveries": 13_100.0,
    "deletes": 344.0,
    "memory": 660.0,
}
"""Of kube-apiserver 1.20: per second, or milliseconds, or MB. The list has 3,200 pods."""


class Cluster:
    """`raykube up` in a home of its own, without nodes."""

    def __init__(self, home: str) -> None:
        self._environment = {**os.environ, "RAYKUBE_HOME": home, "RAYKUBE_NAME": "bench"}
        self.kubeconfig = f"{home}/kubeconfig"

    def raykube(self, *arguments: str) -> str:
        command = [sys.executable, "-c", "from cluster.cli.main import main; main()", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._environment, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr or done.stdout)
        return done.stdout

    def up(self) -> None:
        self.raykube("up", "--nodes", "0", "--wait", "120s", "--kubeconfig", self.kubeconfig)

    def memory_bytes(self) -> int:
        """Of the API server's process."""
        parts: Any = json.loads(self.raykube("status", "-o", "json"))
        found = [p["pid"] for name, p in _components(parts) if name.startswith("api-server")]
        return sum(map(resident_bytes, found))


def _components(picture: Any) -> Iterator[tuple[str, Any]]:
    """Name and facts of every component, wherever the picture has them."""
    if isinstance(picture, dict):
        for name, value in picture.items():
            if isinstance(value, dict) and "pid" in value:
                yield name, value
            else:
                yield from _components(value)
    elif isinstance(picture, list):
        for value in picture:
            if isinstance(value, dict) and "pid" in value:
                yield str(value.get("name", "")), value
            else:
                yield from _components(value)


class Bench:
    def __init__(self, cluster: Cluster, pods: int, duration_s: float) -> None:
        config = ClientConfig.from_kubeconfig(cluster.kubeconfig)
        url = urllib.parse.urlsplit(config.servers[0])
        context = config.tls()
        assert context is not None
        self._context: ssl.SSLContext = context
        self._host, self._port = str(url.hostname), int(url.port or 443)
        self._requests = Requests(self._host)
        self._folder = pathlib.Path(cluster.kubeconfig).parent
        self._user = {"cert": f"{self._folder}/bench.crt", "key": f"{self._folder}/bench.key"}
        pathlib.Path(self._user["cert"]).write_text(config.cert)
        pathlib.Path(self._user["key"]).write_text(config.key)
        compile_reader(self._folder)
        self._cluster, self._pods, self._duration_s = cluster, pods, duration_s
        self._names = [f"pod-{number:05d}" for number in range(pods)]

    async def run(self) -> None:
        links = [await self._connect() for _ in range(CONNECTIONS)]
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}}
        await run_all(links[:1], [self._requests.of("POST", "/api/v1/namespaces", namespace)], 201)
        await self._settled(links[0])
        before = self._cluster.memory_bytes()
        serial = [self._requests.of("POST", PODS, pod(f"serial-{n}")) for n in range(100)]
        alone = await run_all(links[:1], serial, 201)
        tell("one create after another, median", "ms", alone.p50_ms, KNOWN["serial create"])
        creates = (self._requests.of("POST", PODS, pod(name)) for name in self._names)
        self._tell("pod creates", await run_all(links, creates, 201), KNOWN["creates"])
        per_pod = (self._cluster.memory_bytes() - before) / (self._pods + 100)
        tell("memory per 10,000 pods", "MB", per_pod * 1e4 / 1e6, None)
        await self._reads(links)
        patches = (self._requests.status_patch(name, 1) for name in self._names)
        self._tell("status patches", await run_all(links, patches, 200), KNOWN["status patches"])
        for watchers in WATCHERS:
            await self._watch(links, watchers)
        memory = self._cluster.memory_bytes() / 1e6
        tell("memory of the API server", "MB", memory, KNOWN["memory"], pods=self._pods)
        deletes = (self._requests.of("DELETE", f"{PODS}/{name}", _NOW) for name in self._names)
        self._tell("pod deletes", await run_all(links, deletes, 200), KNOWN["deletes"])
        for link in links:
            link.close()

    async def _connect(self) -> Http1:
        return await Http1.connect(self._host, self._port, self._context)

    async def _settled(self, link: Http1) -> None:
        """Once the namespace has its default service account, for pods are given it."""
        path = "/api/v1/namespaces/bench/serviceaccounts/default"
        while (await link.call(self._requests.of("GET", path)))[0] != 200:
            await asyncio.sleep(0.1)

    async def _reads(self, links: Sequence[Http1]) -> None:
        gets = (self._requests.of("GET", f"{PODS}/{name}") for name in self._names * 3)
        self._tell("pod gets", await run_all(list(links), gets, 200), KNOWN["gets"])
        for name, query in (("list", ""), ("list at any revision", "?resourceVersion=0")):
            lists = [self._requests.of("GET", PODS + query)] * 10
            load = await run_all(list(links[:1]), lists, 200)
            tell(f"{name}, median", "ms", load.p50_ms, KNOWN[name], pods=self._pods + 100)

    async def _watch(self, links: Sequence[Http1], watchers: int) -> None:
        """All watch some pods of the namespace while their statuses are patched."""
        target = f"{PODS}?watch=1&resourceVersion=0&labelSelector=watched%3D{watchers}"
        names = [f"watched-{watchers}-{number}" for number in range(WATCHED)]
        created = [self._requests.of("POST", PODS, pod(name, watchers)) for name in names]
        await run_all(list(links), created, 201)
        where = (self._folder, self._host, str(self._port), self._user)
        async with watching(*where, target, watchers) as reader:
            await reader.wait(watchers * WATCHED)
            begun, start_s = reader.events, time.perf_counter()
            patches = _Counted(self._patches(names))
            await run_all(list(links), patches, 200)
            await reader.wait(begun + patches.number * watchers)
            per_s = (reader.events - begun) / (time.perf_counter() - start_s)
        peer = KNOWN["watch deliveries"] if watchers == 100 else None
        tell("watch deliveries", "per_s", per_s, peer, watchers=watchers)

    def _patches(self, names: Sequence[str]) -> Iterator[bytes]:
        """Of one pod after the other, until time is up."""
        end_s = time.perf_counter() + self._duration_s
        for number in count():
            if time.perf_counter() > end_s:
                return
            yield self._requests.status_patch(names[number % len(names)], number)

    def _tell(self, name: str, load: Load, peer: float) -> None:
        tell(name, "per_s", load.per_s, peer, connections=CONNECTIONS)
        tell(f"{name}, median", "ms", load.p50_ms, None, connections=CONNECTIONS)
        tell(f"{name}, p99", "ms", load.p99_ms, None, connections=CONNECTIONS)


class _Counted:
    """An iterator that knows how many it has given."""

    def __init__(self, items: Iterator[bytes]) -> None:
        self._items, self.number = items, 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> bytes:
        item = next(self._items)
        self.number += 1
        return item


_NOW = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--pods", type=int, default=3200)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    collector.calm()
    with tempfile.TemporaryDirectory(prefix="rk-") as home:
        cluster = Cluster(home)
        try:
            cluster.up()
            uvloop.install()
            asyncio.run(Bench(cluster, arguments.pods, arguments.seconds).run())
        finally:
            cluster.raykube("down", "-q")


if __name__ == "__main__":
    main()
