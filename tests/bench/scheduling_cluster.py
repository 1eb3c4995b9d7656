"""Scheduling end to end in a whole cluster: from the creation of pods to their bindings."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import uvloop
from figures import tell
from http1 import Http1, run_all
from scheduling_cases import FULL, LOW, PREEMPTING, Case, Kind, node
from whole import MACHINE, Usage, Whole, whole

from actors import collector
from cluster.client.config import ClientConfig
from cluster.kubelet.simulated.nodes import Model
from cluster.kubelet.simulated.registration import register

CONNECTIONS = 32
ZONES = tuple(f"zone-{number}" for number in range(10))
KNOWN = {
    "basic": 102.0,
    "topology spread, required": 87.0,
    "pod anti-affinity, required": 67.0,
}
"""Pods per second of kube-scheduler 1.20 with its API server and 3 members of etcd: 1,000 nodes."""
KNOWN_NODES = 1000
MEASURED = "raykube.dev/measured"
CLASSES = {LOW.priority: "low", PREEMPTING.priority: "high"}
"""PriorityClasses by value."""


class Bench:
    """`fleets`: none, and nodes are objects that nobody keeps alive and whose pods never run."""

    def __init__(self, cluster: Whole, nodes: int, fleets: int) -> None:
        self._cluster, self._nodes, self._fleets = cluster, nodes, fleets
        config = ClientConfig.from_kubeconfig(cluster.kubeconfig)
        url = urllib.parse.urlsplit(config.servers[0])
        self._context = config.tls()
        self._host, self._port = str(url.hostname), int(url.port or 443)
        self._links: list[Http1] = []
        self._made = 0

    async def run(self, cases: Sequence[Case]) -> None:
        self._cluster.client = self._cluster.new_client()
        assert self._context is not None
        self._links = [
            await Http1.connect(self._host, self._port, self._context) for _ in range(CONNECTIONS)
        ]
        await self._prepare()
        for number, case in enumerate(cases):
            await self._measure(case, f"case-{number}")
        for link in self._links:
            link.close()
        await self._cluster.client.close()

    async def _prepare(self) -> None:
        for value, name in CLASSES.items():
            made = {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
            }
            await self._cluster.client.create("priorityclasses.scheduling.k8s.io", made)
        await self._register()

    async def _register(self) -> None:
        if not self._fleets:
            made = (self._request("POST", "/api/v1/nodes", node(n)) for n in range(self._nodes))
            await run_all(self._links, made, 201)
            return
        names = [f"fleet-{number}" for number in range(self._fleets)]
        await register(self._cluster.client, self._nodes, Model(zones=ZONES), fleets=names)
        while sum(f.get("reported_ready", 0) for f in self._cluster.facts("fleet")) < self._nodes:
            await asyncio.sleep(0.2)

    async def _measure(self, case: Case, space: str) -> None:
        async with self._namespace(space) as path:
            for kind, count in case.before:
                if there := count * self._nodes // FULL:
                    await self._create(path, self._pods(kind, there))
            await self._bound(space)
            count = case.count(self._nodes)
            before, start_s = await self._cluster.usage(), time.perf_counter()
            created = await self._create(path, self._mixed(case, count))
            await self._bound(space, f"{MEASURED}=true")
            duration_s = time.perf_counter() - start_s
            spent = (await self._cluster.usage()).since(before)
            self._tell(case, count, duration_s, created, spent)
            await self._bound(space, f"{MEASURED}!=false")

    def _tell(
        self, case: Case, count: int, duration_s: float, created_per_s: float, spent: Usage
    ) -> None:
        known = KNOWN.get(case.name) if self._nodes == KNOWN_NODES else None
        peer = "kube-scheduler 1.20 at 1,000 nodes" if known else "threshold at 5,000 nodes"
        all_ms = {kind: round(s * 1e3 / count, 2) for kind, s in spent.cpu_s.items()}
        others = all_ms.pop(MACHINE) - sum(all_ms.values())
        tell(
            f"cluster: {case.name}",
            "pods_per_s",
            count / duration_s,
            known or case.threshold,
            peer_is=peer,
            nodes=self._nodes,
            simulated=bool(self._fleets),
            pods=count,
            creates_per_s=round(created_per_s),
            cpu_ms_per_pod={kind: ms for kind, ms in all_ms.items() if ms},
            cpu_ms_per_pod_of_others=round(max(0.0, others), 2),
            requests_per_pod={
                f"{verb} {resource}": round(made / count, 2)
                for (verb, resource), made in spent.requests.items()
                if made >= count / 10
            },
        )

    def _mixed(self, case: Case, count: int) -> Iterator[dict[str, Any]]:
        """The measured pods, and those of the churn among them. Too large ones never fit."""
        for number, pod in enumerate(self._pods(case.measured[0], count, "true")):
            yield pod
            if case.churn and number % case.every == case.every - 1:
                yield from self._pods(case.churn, 1, "false" if case.hopeless else "later")

    def _pods(self, kind: Kind, count: int, measured: str = "") -> Iterator[dict[str, Any]]:
        for _ in range(count):
            self._made += 1
            pod = kind.pod(f"pod-{self._made}", "")
            pod["spec"]["terminationGracePeriodSeconds"] = 0
            if priority := pod["spec"].pop("priority"):
                pod["spec"]["priorityClassName"] = CLASSES[priority]
            if measured:
                pod["metadata"]["labels"][MEASURED] = measured
            yield pod

    async def _create(self, path: str, pods: Iterable[dict[str, Any]]) -> float:
        """Creations per second."""
        made = await run_all(self._links, (self._request("POST", path, p) for p in pods), 201)
        return made.per_s

    async def _bound(self, space: str, labels: str = "") -> None:
        """Wait until no such pod is without a node."""
        while True:
            page = await self._cluster.client.list(
                "pods", space, label_selector=labels, field_selector="spec.nodeName=", limit=1
            )
            if not page["items"]:
                return
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def _namespace(self, name: str) -> AsyncIterator[str]:
        """Its path of pods. It is empty again afterwards."""
        client = self._cluster.client
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await client.create("namespaces", made)
        while not (await client.list("serviceaccounts", name))["items"]:
            await asyncio.sleep(0.1)
        path = f"/api/v1/namespaces/{name}/pods"
        yield path
        await client.raw("DELETE", f"{path}?gracePeriodSeconds=0")
        await self._cluster.none_left("pods", name)

    def _request(self, method: str, target: str, body: Any) -> bytes:
        content = json.dumps(body).encode()
        head = (
            f"{method} {target} HTTP/1.1",
            f"Host: {self._host}",
            "User-Agent: bench",
            "Accept: application/json",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
        )
        return "\r\n".join([*head, "", ""]).encode() + content


def run(nodes: int, cases: Sequence[Case], fleets: int, members: int) -> None:
    collector.calm()
    uvloop.install()
    shape = ("--nodes", "0", "--fleets", str(fleets), "--members", str(members))
    with whole(*shape) as cluster:
        asyncio.run(Bench(cluster, nodes, fleets).run(cases))
