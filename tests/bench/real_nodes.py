"""Pods of a node that runs them for real: how soon they are Running, and what a kubelet costs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from etcd import resident_bytes
from figures import tell
from whole import TICKS_PER_S, Whole

from actors import discovery
from cluster.client import Client

Object = dict[str, Any]

NAMESPACE = "starts"
TIMEOUT_S = 120.0


class Starts:
    """Pods of an image that has a shell; `runtime` is told with the figures."""

    def __init__(self, client: Client, runtime: str, image: str) -> None:
        self._client, self._runtime, self._image = client, runtime, image
        self._created: dict[str, float] = {}
        self._running: dict[str, float] = {}
        self._gone: set[str] = set()
        self._changed = asyncio.Event()
        self._number = 0

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """In a namespace of its own, with a watch of its pods."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await self._client.create("namespaces", namespace)
        await self._account()
        version = (await self._client.list("pods", NAMESPACE))["metadata"]["resourceVersion"]
        task = asyncio.create_task(self._watch(version))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._client.delete("namespaces", NAMESPACE)

    async def _account(self) -> None:
        while not (await self._client.list("serviceaccounts", NAMESPACE))["items"]:
            await asyncio.sleep(0.05)

    async def _watch(self, version: str) -> None:
        async for kind, pod in self._client.watch("pods", NAMESPACE, resource_version=version):
            name = pod["metadata"]["name"]
            if kind == "DELETED":
                self._gone.add(name)
            elif (pod.get("status") or {}).get("phase") == "Running":
                self._running.setdefault(name, time.perf_counter())
            self._changed.set()

    async def _until_seen(self, names: Sequence[str], seen: Any) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not all(name in seen for name in names):
                self._changed.clear()
                await self._changed.wait()

    async def run(self, count: int) -> list[str]:
        """Names of new pods, once all of them are Running."""
        names = [f"pod-{self._number + n}" for n in range(count)]
        self._number += count

        async def create(name: str) -> None:
            self._created[name] = time.perf_counter()
            await self._client.create("pods", self._pod(name))

        await asyncio.gather(*map(create, names))
        await self._until_seen(names, self._running)
        return names

    def _pod(self, name: str) -> Object:
        container = {
            "name": "main",
            "image": self._image,
            "command": ["sleep", "3600"],
            "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
        }
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        spec["automountServiceAccountToken"] = False
        metadata = {"name": name, "namespace": NAMESPACE}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    async def end(self, names: Sequence[str]) -> None:
        for name in names:
            await self._client.delete("pods", name, NAMESPACE)
        await self._until_seen(names, self._gone)

    async def measure(self, at_once: int, rounds: int) -> None:
        """Tell the latencies of `rounds` times `at_once` pods."""
        taken: list[float] = []
        for _ in range(rounds):
            names = await self.run(at_once)
            taken += [self._running[name] - self._created[name] for name in names]
            await self.end(names)
        taken.sort()
        p50, p99 = (taken[min(len(taken) - 1, len(taken) * share // 100)] for share in (50, 99))
        tell(
            f"{self._runtime}: created to Running, {at_once} at once",
            "s, p99",
            p99,
            None,
            p50=round(p50, 3),
            longest=round(taken[-1], 3),
            pods=len(taken),
        )


class Kubelet:
    """The process of the one node of a cluster (kubelet, proxy and DNS are in it)."""

    def __init__(self, cluster: Whole) -> None:
        entries = discovery.read(cluster.folder).values()
        (self._pid,) = [entry["pid"] for entry in entries if entry["kind"] == "node"]

    async def measure(self, runtime: str, pods: int, seconds: float) -> None:
        before_s, start_s = self._cpu_s(), time.perf_counter()
        await asyncio.sleep(seconds)
        share = (self._cpu_s() - before_s) / (time.perf_counter() - start_s)
        memory_mb = round(resident_bytes(self._pid) / 1e6, 1)
        tell(f"{runtime}: kubelet with {pods} pods", "CPUs", share, None, memory_mb=memory_mb)

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def measure(
    cluster: Whole, runtime: str, image: str, counts: Sequence[int], idle_s: float
) -> None:
    """Latencies with 1, 10 and 50 pods at once; then the kubelet with so many pods."""
    client = cluster.new_client()
    starts, kubelet = Starts(client, runtime, image), Kubelet(cluster)
    try:
        async with starts.watching():
            await starts.end(await starts.run(2))  # what is only done once is done
            for at_once, rounds in ((1, 30), (10, 5), (50, 2)):
                await starts.measure(at_once, max(1, rounds * counts[-1] // 110))
            names: list[str] = []
            for count in counts:
                names += await starts.run(count - len(names))
                await kubelet.measure(runtime, count, idle_s)
            await starts.end(names)
    finally:
        await client.close()
