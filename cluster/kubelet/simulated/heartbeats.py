"""Keeps the nodes of one fleet alive: their status when it changes, their leases in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.client import Client, Informer, WorkQueue
from cluster.client.workers import Workers
from cluster.kubelet import node_object
from cluster.kubelet.simulated import nodes
from cluster.kubelet.simulated.understood import Node, understood
from cluster.machinery.status import ApiError

Object = dict[str, Any]

LEASES, LEASE_NAMESPACE = "leases.coordination.k8s.io", "kube-node-lease"
CONCURRENT = 24
LIMIT = 1_000_000
RENEWALS_PER_S = 200.0
_NO_RANGE = "container runtime network not ready: the Node has no spec.podCIDR"


@dataclass
class _Beat:
    """What one node was last told to be. `version`: of the Node that this was decided on."""

    uid: str
    lease: Object | None = None
    lease_due_s: float = 0.0
    status_due_s: float = 0.0
    version: str = ""
    ready: bool = False


@dataclass(frozen=True)
class Periods:
    """How often nodes say that they are alive."""

    lease_s: float = 40.0
    status_s: float = 300.0

    def renew_s(self, nodes: int) -> float:
        """Four times in a lease's life, as a kubelet does; where there are so many nodes that it
        would be more than `RENEWALS_PER_S`, less often, but at least twice."""
        bounded = max(self.lease_s / 4, nodes / RENEWALS_PER_S)
        return min(bounded, self.lease_s / 2)


class Heartbeats:
    """Nodes come from the informer; `address` is where all of them are reached."""

    def __init__(
        self,
        client: Client,
        seams: Seams,
        informer: Informer,
        address: tuple[str, int],
        periods: Periods,
    ) -> None:
        self._client = client
        self._clock = seams.clock
        self._uniform = seams.randomness.uniform
        self._informer = informer
        self._address = address
        self._periods = periods
        self._beats: dict[str, _Beat] = {}
        self._queue = WorkQueue(seams.clock, first_backoff_s=0.1, max_backoff_s=10.0, limit=LIMIT)
        self._workers = Workers("node", self._queue, self._reconcile, CONCURRENT)

    @property
    def ready(self) -> int:
        """How many nodes were reported Ready."""
        return sum(beat.ready for beat in self._beats.values())

    def start(self) -> None:
        self._informer.subscribe(self._changed)
        self._workers.start()

    async def stop(self) -> None:
        await self._workers.stop()

    def _changed(self, kind: str, old: Object | None, new: Object | None) -> None:
        self._queue.add((new or old or {})["metadata"]["name"])

    async def _reconcile(self, name: str) -> float | None:
        found = self._informer.get(name)
        if found is None:
            self._beats.pop(name, None)
            return None
        node = understood(found)
        if not node.own.powered:
            return None
        uid = found["metadata"]["uid"]
        beat = self._beats.get(name)
        if beat is None or beat.uid != uid:
            beat = self._beats[name] = _Beat(uid)
        wait_s = await self._report(node, beat)
        await self._renew(name, beat)
        due_s = min(beat.status_due_s, beat.lease_due_s) - self._clock.now()
        return max(0.0, min(due_s, wait_s or due_s))

    async def _report(self, node: Node, beat: _Beat) -> float | None:
        """Post the status if it is due or another one; returns when it will be another one."""
        now_s, found = self._clock.wall(), node.object
        boots_in_s = nodes.boots_until_s(found, node.own) - now_s
        problem = node.problem or ("" if found["spec"].get("podCIDR") else _NO_RANGE)
        if boots_in_s > 0:
            problem = problem or "the node boots"
        reported = nodes.status(found, node.own, problem, *self._address, now_s)
        seen = beat.version != found["metadata"]["resourceVersion"]
        due = beat.status_due_s <= self._clock.now()
        if due or (seen and nodes.differs(found, reported)):
            await self._client.patch(
                "nodes",
                found["metadata"]["name"],
                {"metadata": {"uid": beat.uid}, "status": reported},
                kind="strategic",
                subresource="status",
            )
            beat.version = found["metadata"]["resourceVersion"]
            beat.status_due_s = self._next_s(self._periods.status_s)
            beat.ready = not problem and dict(node.own.conditions).get("Ready", "True") == "True"
        return boots_in_s if boots_in_s > 0 else None

    def _next_s(self, period_s: float) -> float:
        """A little early, so that nodes made together do not stay together."""
        return self._clock.now() + period_s * self._uniform(0.9, 1.0)

    async def _renew(self, name: str, beat: _Beat) -> None:
        if beat.lease_due_s > self._clock.now():
            return
        wanted = node_object.lease(name, beat.uid, self._periods.lease_s, self._clock.wall())
        try:
            beat.lease = await self._put(wanted, beat.lease)
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            beat.lease = await self._put_anyway(name, wanted)
        beat.lease_due_s = self._next_s(self._periods.renew_s(len(self._beats)))

    async def _put(self, wanted: Object, known: Object | None) -> Object:
        """The lease as it is stored now."""
        if known is None:
            return await self._client.create(LEASES, wanted)
        version = known["metadata"]["resourceVersion"]
        metadata = wanted["metadata"] | {"resourceVersion": version}
        return await self._client.update(LEASES, wanted | {"metadata": metadata})

    async def _put_anyway(self, name: str, wanted: Object) -> Object:
        """Another process has made, renewed or removed it."""
        try:
            known = await self._client.get(LEASES, name, LEASE_NAMESPACE)
        except ApiError as error:
            if error.code != 404:
                raise
            return await self._put(wanted, None)
        return await self._put(wanted, known)
