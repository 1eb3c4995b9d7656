"""One leader among equals, by optimistic updates of a Lease object (as client-go does it).

Clocks are never compared between machines: a candidate waits until the record has stood still
for the whole lease by its own monotonic clock before it takes over.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

from actors.seams import Seams
from cluster.client.errors import ClientError
from cluster.client.rest import Client, Object
from cluster.client.term import Term
from cluster.client.timeouts import timeout
from cluster.machinery import meta
from cluster.machinery.fencing import Fence
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

LEASES = "leases.coordination.k8s.io"
Lead = Callable[[Term], Coroutine[Any, Any, None]]
"""The work of a leader."""


class LeaderElector:
    """`renew_s`, the time to renew within, must be shorter than `lease_s`."""

    jitter = 1.2

    def __init__(
        self,
        client: Client,
        seams: Seams,
        name: str,
        identity: str,
        lease_s: float = 15.0,
        renew_s: float = 10.0,
        retry_s: float = 2.0,
        *,
        namespace: str = "kube-system",
    ) -> None:
        if not lease_s > renew_s > retry_s * self.jitter > 0:
            raise ValueError(f"need lease > renew > 1.2 retry: {lease_s}, {renew_s}, {retry_s}")
        self.identity = identity
        self._term: Term | None = None
        self._terms = 0
        self._client = client
        self._seams = seams
        self._name = name
        self._namespace = namespace
        self._lease_s, self._renew_s, self._retry_s = lease_s, renew_s, retry_s
        self._observed: Object | None = None
        self._observed_at_s = 0.0
        self._held_until_s = 0.0
        """When we give up the lease that we took or renewed last: counted from the sending."""

    @property
    def leading(self) -> bool:
        return self._term is not None and not self._term.is_over

    @property
    def leader(self) -> str:
        """Who holds the lease, as far as this candidate has seen."""
        return str(_spec(self._observed).get("holderIdentity") or "")

    async def run(self, lead: Lead) -> None:
        """Compete for ever. `lead(term)` runs while leading and is cancelled on loss.

        When `lead` raises, or this task is cancelled, the lease is released after `lead` ended.
        """
        while True:
            await self._acquire()
            log.info("%s: %s leads", self._name, self.identity)
            await self._lead(lead)
            log.warning("%s: %s lost the lease", self._name, self.identity)

    async def _acquire(self) -> None:
        while not await self._attempt(self._renew_s):
            factor = 1 + self.jitter * self._seams.randomness.random()
            await self._seams.clock.sleep(self._retry_s * factor)

    async def _lead(self, lead: Lead) -> None:
        assert self._observed is not None
        term = Term(self._seams.clock, Fence.of(self._observed), self._held_until_s)
        self._term, self._terms = term, self._terms + 1
        work = asyncio.ensure_future(lead(term))
        renewal = asyncio.create_task(self._renew_until_lost(term))
        lost = False
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
            lost = renewal.done()
            if lost:
                term.end()
        finally:
            await _end(work)
            await _end(renewal)
            term.end()
            self._term = None
            if not lost:
                await self._release()
        if not lost:
            work.result()
            raise RuntimeError("the leader's work ended by itself")
        renewal.result()

    async def _renew_until_lost(self, term: Term) -> None:
        """Return when the lease could not be renewed for `renew_s`, or is not ours any more."""
        while not term.is_over:
            await self._seams.clock.sleep(self._retry_s)
            left_s = term.surely_until_s - self._seams.clock.now()
            if left_s > 0 and await self._attempt(min(left_s, self._renew_s / 2)):
                term.surely_until_s = self._held_until_s
            elif not self._goes_on(term):
                return

    async def _attempt(self, timeout_s: float) -> bool:
        """Try to take or renew the lease once; an error counts as "not now"."""
        try:
            async with timeout(self._seams.clock, timeout_s):
                return await self._take_or_renew()
        except (ApiError, ClientError, TimeoutError) as error:
            log.debug("%s: %r", self._name, error)
            return False

    async def _take_or_renew(self) -> bool:
        await self._read()
        if self._term is not None:
            if not self._goes_on(self._term):
                return False
        elif self._held_by_other():
            return False
        sent_s = self._seams.clock.now()
        if self._observed is None:
            self._observe(await self._client.create(LEASES, self._first()))
        else:
            self._observe(await self._client.update(LEASES, self._renewed(self._observed)))
        self._held_until_s = sent_s + self._renew_s
        return True

    async def _read(self) -> None:
        """See the lease as it is now; there may be none."""
        try:
            self._observe(await self._client.get(LEASES, self._name, self._namespace))
        except ApiError as error:
            if error.code != 404:
                raise
            self._observed = None

    def _goes_on(self, term: Term) -> bool:
        """Whether the lease, as it was seen last, is that of our term."""
        return self._observed is not None and term.is_of(self._observed)

    def _held_by_other(self) -> bool:
        """Whether someone else holds the lease and it has not run out by our own clock."""
        spec = _spec(self._observed)
        if not self.leader or self.leader == self.identity:
            return False
        duration_s = float(spec.get("leaseDurationSeconds") or self._lease_s)
        return self._observed_at_s + duration_s > self._seams.clock.now()

    def _observe(self, lease: Object) -> None:
        if _spec(self._observed) != _spec(lease):
            self._observed_at_s = self._seams.clock.now()
        self._observed = lease

    def _first(self) -> Object:
        metadata = {"name": self._name, "namespace": self._namespace}
        spec = self._holding() | {"acquireTime": self._now(), "leaseTransitions": self._terms}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }

    def _renewed(self, old: Object) -> Object:
        """A new term has a number of its own, even if its holder is that of the term before."""
        lease = copy.deepcopy(old)
        spec = lease.setdefault("spec", {})
        if self._term is None:
            spec["acquireTime"] = self._now()
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec.update(self._holding())
        return lease

    def _holding(self) -> Object:
        duration_s = max(1, math.ceil(self._lease_s))
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": duration_s,
            "renewTime": self._now(),
        }

    async def _release(self) -> None:
        """Let a waiting candidate take over at once; best effort, since the lease runs out."""
        if self._observed is None or self.leader != self.identity:
            return
        try:
            async with timeout(self._seams.clock, self._renew_s / 2):
                await self._give_up()
        except (ApiError, ClientError, TimeoutError) as error:
            log.warning("%s: the lease was not released: %s", self._name, error)

    async def _give_up(self) -> None:
        """A renewal that was cancelled may have happened: then the newest version is ours, too."""
        try:
            self._observe(await self._client.update(LEASES, self._released()))
        except ApiError as error:
            if error.code != 409:
                raise
            self._observe(await self._client.get(LEASES, self._name, self._namespace))
            if self.leader == self.identity:
                self._observe(await self._client.update(LEASES, self._released()))

    def _released(self) -> Object:
        lease, now = copy.deepcopy(self._observed or {}), self._now()
        lease["spec"].update(
            holderIdentity="", leaseDurationSeconds=1, renewTime=now, acquireTime=now
        )
        return lease

    def _now(self) -> str:
        return meta.format_micro_time(self._seams.clock.wall())


def _spec(lease: Object | None) -> Object:
    return (lease or {}).get("spec") or {}


async def _end(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait for its end; its result stays with the task."""
    task.cancel()
    await asyncio.wait({task})
