"""Registers the node, keeps its status current and its lease renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError
from cluster.kubelet import machine, node_object
from cluster.machinery.status import ApiError

Object = dict[str, Any]

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_PROBLEM_S = 2.0


@dataclass(frozen=True)
class NodeFacts:
    name: str
    ip: str
    port: int
    pod_cidr: str
    labels: Mapping[str, str]
    capacity: Mapping[str, str]
    runtime: str
    images: Callable[[], Awaitable[list[Object]]] | None = None
    """Those on the node, as its status tells them."""
    problem: Callable[[], str] = lambda: ""
    """Why the node is not ready; "" if it is."""
    allocatable: Mapping[str, str] = field(default_factory=dict)


class NodeAgent:
    def __init__(
        self,
        client: Client,
        seams: Seams,
        facts: NodeFacts,
        *,
        lease_s: float,
        status_s: float,
        pressure: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """`pressure`: the conditions that hold, asked for at each report."""
        self._pressure = pressure
        self._client = client
        self._seams = seams
        self._facts = facts
        self._lease_s = lease_s
        self._status_s = status_s
        self._uid = ""
        self._told_problem = ""
        self._info = machine.info()
        self._tasks: list[asyncio.Task[None]] = []
        self.registered = asyncio.Event()

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._repeat(self._renew_lease, self._lease_s / 4), name="lease"),
            asyncio.create_task(self._repeat(self._post_status, self._status_s), name="node"),
            asyncio.create_task(self._repeat(self._tell_problem, _PROBLEM_S), name="node problem"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, work: Callable[[], Awaitable[None]], period_s: float) -> None:
        while True:
            wait_s = period_s * self._seams.randomness.uniform(0.95, 1.0)
            try:
                await work()
            except (ApiError, ClientError) as error:
                log.warning("node %s: %s", self._facts.name, error)
                wait_s = min(_RETRY_S, period_s)
            await self._seams.clock.sleep(wait_s)

    async def report(self) -> None:
        """Now, and not at the next turn; what fails now is repeated then."""
        try:
            await self._post_status()
        except (ApiError, ClientError) as error:
            log.warning("node %s: %s", self._facts.name, error)

    async def _post_status(self) -> None:
        node = await self._registered_node()
        facts = self._facts
        problem = facts.problem()
        status = node_object.status(
            node,
            name=facts.name,
            ip=facts.ip,
            port=facts.port,
            capacity=facts.capacity,
            runtime=facts.runtime,
            problem=problem,
            info=self._info,
            now_s=self._seams.clock.wall(),
            allocatable=facts.allocatable or None,
            pressure=self._pressure(),
        )
        if facts.images is not None:
            status["images"] = await facts.images()
        await self._client.patch(
            "nodes", facts.name, {"status": status}, kind="strategic", subresource="status"
        )
        self._told_problem = problem
        self.registered.set()

    async def _tell_problem(self) -> None:
        """At once, when the node ceases to be ready or is it again."""
        if self.registered.is_set() and bool(self._facts.problem()) != bool(self._told_problem):
            await self._post_status()

    async def _registered_node(self) -> Object:
        """The Node object: created if missing, its labels brought up to date."""
        facts = self._facts
        labels = node_object.labels(facts.name, facts.labels)
        try:
            node = await self._client.get("nodes", facts.name)
        except ApiError as error:
            if error.code != 404:
                raise
            node = node_object.node(facts.name, labels, facts.pod_cidr)
            node = await self._client.create("nodes", node)
        self._uid = node["metadata"]["uid"]
        patch: Object = {}
        have = node["metadata"].get("labels") or {}
        if any(have.get(key) != value for key, value in labels.items()):
            patch["metadata"] = {"labels": labels}
        if not (node.get("spec") or {}).get("podCIDR"):
            patch["spec"] = {"podCIDR": facts.pod_cidr, "podCIDRs": [facts.pod_cidr]}
        if patch:
            node = await self._client.patch("nodes", facts.name, patch)
        return node

    async def _renew_lease(self) -> None:
        await self.registered.wait()
        name, now_s = self._facts.name, self._seams.clock.wall()
        wanted = node_object.lease(name, self._uid, self._lease_s, now_s)
        try:
            patch = {"spec": wanted["spec"]}
            await self._client.patch("leases.coordination.k8s.io", name, patch, "kube-node-lease")
        except ApiError as error:
            if error.code != 404:
                raise
            await self._client.create("leases.coordination.k8s.io", wanted)
