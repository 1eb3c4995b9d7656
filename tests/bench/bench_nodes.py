"""Nodes and their pods, real and simulated.

usage: scripts/bench nodes [--nodes 1000,5000] [--pods 10000] [--fleets 1] [--idle 10] [--scheduled]
                           [--real-pods 0,50,110] [real] [simulated]

`real`: one node of this machine, over the process runtime and over containerd where that is
installed. How long from the creation of a pod until a watch tells that it is Running, with 1, 10
and 50 at once (the scheduler binds them), and what the node's process costs with so many pods at
rest.

`simulated`: how long until all nodes are Ready, and all pods Running and gone.
The pods are bound when they are made, as in kwok's own gate (5,000 nodes Ready in 60 s, 10,000 pods
Running in 60 s and deleted in 90 s); with --scheduled the scheduler binds as many again. Every
phase says what each part of the cluster spent on it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import real_nodes
import uvloop
from whole import Whole, tell_shape, whole

from actors import collector
from cluster.kubelet.simulated.nodes import Model
from cluster.kubelet.simulated.registration import register
from cluster.machinery import meta

NAMESPACE = "bench"
CONCURRENT = 24


class Bench:
    def __init__(self, cluster: Whole, fleets: int) -> None:
        self._cluster = cluster
        self._fleets = [f"fleet-{number}" for number in range(fleets)]
        self._nodes: list[str] = []

    async def run(self, nodes: Sequence[int], pods: int, idle_s: float, scheduled: bool) -> None:
        self._cluster.client = self._cluster.new_client()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await self._cluster.client.create("namespaces", namespace)
        for count in nodes:
            async with self._cluster.measured(f"{count} nodes Ready", count - len(self._nodes)):
                await self._register(count - len(self._nodes))
        async with self._cluster.measured(f"{len(self._nodes)} nodes idle", len(self._nodes)):
            await asyncio.sleep(idle_s)
        bound = [_pod(n, self._nodes[n % len(self._nodes)]) for n in range(pods)]
        async with self._cluster.measured("pods Running, bound when made", pods):
            await self._running(bound)
        await self._deleted(pods)
        if scheduled:
            async with self._cluster.measured("pods Running, by the scheduler", pods):
                await self._running([_pod(n, "") for n in range(pods)])
            await self._deleted(pods)
        await self._cluster.client.close()

    async def _register(self, count: int) -> None:
        client = self._cluster.client
        self._nodes += await register(
            client, count, Model(zones=("a", "b", "c")), fleets=self._fleets
        )
        while sum(f.get("reported_ready", 0) for f in self._cluster.facts("fleet")) < len(
            self._nodes
        ):
            await asyncio.sleep(0.1)
        found = (await client.list("nodes"))["items"]
        assert sum(meta.condition_is(node, "Ready") for node in found) == len(self._nodes)

    async def _running(self, pods: Sequence[dict[str, Any]]) -> None:
        client, waiting = self._cluster.client, iter(pods)

        async def create() -> None:
            for pod in waiting:
                await client.create("pods", pod)

        await asyncio.gather(*(create() for _ in range(CONCURRENT)))
        await self._cluster.none_left("pods", NAMESPACE, "status.phase!=Running")

    async def _deleted(self, count: int) -> None:
        async with self._cluster.measured("pods deleted", count):
            await self._cluster.client.raw("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods")
            await self._cluster.none_left("pods", NAMESPACE)


def _pod(number: int, node: str) -> dict[str, Any]:
    requests = {"cpu": "10m", "memory": "16Mi"}
    container = {"name": "main", "image": "app:1", "resources": {"requests": requests}}
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 1}
    if node:
        spec["nodeName"] = node
    metadata = {"name": f"pod-{number:05d}", "namespace": NAMESPACE, "labels": {"app": "bench"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--nodes", default="1000,5000")
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--fleets", type=int, default=1)
    parser.add_argument("--idle", type=float, default=10.0)
    parser.add_argument("--members", default="3", choices=["1", "3", "5"])
    parser.add_argument("--ray-address", default="")
    parser.add_argument("--scheduled", action="store_true")
    parser.add_argument("--real-pods", default="0,50,110")
    parser.add_argument("sections", nargs="*", metavar="real|simulated")
    arguments = parser.parse_args()
    sections = arguments.sections or ["real", "simulated"]
    if unknown := set(sections) - {"real", "simulated"}:
        parser.error(f"no section named {', '.join(sorted(unknown))}")
    collector.calm()
    uvloop.install()
    tell_shape(**vars(arguments))
    if "real" in sections:
        _real(arguments)
    if "simulated" in sections:
        _simulated(arguments)


def _real(arguments: argparse.Namespace) -> None:
    counts = [int(count) for count in arguments.real_pods.split(",")]
    options = ("--nodes", "1", "--members", arguments.members)
    with whole(*options) as cluster:
        asyncio.run(real_nodes.measure(cluster, "process", "any", counts, arguments.idle))
    sys.path.insert(0, str(Path(__file__).parents[1] / "behaviour"))
    try:
        import containerd
    except ModuleNotFoundError as error:  # what only tests need
        print(f"containerd: scripts/setup dev is needed: {error}", file=sys.stderr)
        return
    if containerd.WHY_NOT:
        print(f"containerd: {containerd.WHY_NOT}", file=sys.stderr)
        return
    with contextlib.closing(containerd.Containerd()) as daemon:
        runtime = ("--runtime", "cri", "--runtime-endpoint", daemon.endpoint)
        with whole(*options, *runtime) as cluster:
            image = containerd.IMAGE
            asyncio.run(real_nodes.measure(cluster, "cri", image, counts, arguments.idle))


def _simulated(arguments: argparse.Namespace) -> None:
    options = ["--nodes", "0", "--fleets", str(arguments.fleets), "--members", arguments.members]
    if arguments.ray_address:
        options += ["--ray-address", arguments.ray_address]
    nodes = [int(count) for count in arguments.nodes.split(",")]
    with whole(*options) as cluster:
        bench = Bench(cluster, arguments.fleets)
        asyncio.run(bench.run(nodes, arguments.pods, arguments.idle, arguments.scheduled))


if __name__ == "__main__":
    main()
