"""Members come and go while everything else happens: added, promoted, removed, by command."""

from __future__ import annotations

import asyncio

from actors.seams.randomness import Randomness
from raftstore.client import StoreClient
from raftstore.errors import (
    InvalidRequest,
    NotEnoughStarted,
    StoreError,
    Unavailable,
    UnhealthyCluster,
    UnknownOutcome,
)
from raftstore.simulation.cluster import PEER_PORT, SimulatedCluster
from raftstore.types import Member, Members

MAX_MACHINES = 12
REFUSALS = Unavailable, UnknownOutcome, UnhealthyCluster, NotEnoughStarted, InvalidRequest


class MemberChanges:
    """Asks for changes; what the store refuses because it is not safe now is no error."""

    def __init__(
        self, cluster: SimulatedCluster, client: StoreClient, randomness: Randomness
    ) -> None:
        self._cluster, self._client, self._randomness = cluster, client, randomness
        self._size = len(cluster.names)
        self.broken: list[str] = []

    async def run(self) -> None:
        """Forever."""
        while True:
            await asyncio.sleep(self._randomness.uniform(0.5, 5.0))
            try:
                await self._change(await self._client.member_list())
            except REFUSALS:
                continue
            except StoreError as error:
                self.broken.append(f"a change of the members: {error!r}")

    async def _change(self, members: Members) -> None:
        """Often two at the same time, which the store has to put in order."""
        changes = [self._one(members)]
        if self._randomness.random() < 0.4:
            changes.append(self._one(members))
        ended = await asyncio.gather(*changes, return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def _one(self, members: Members) -> None:
        learners = [m for m in members.members if m.learner]
        voters = [m for m in members.members if not m.learner]
        if learners and self._randomness.random() < 0.6:
            await self._client.member_promote(learners[0].id)
        elif len(voters) <= self._size and self._randomness.random() < 0.6:
            await self._add()
        elif len(voters) >= self._size:
            await self._remove([*voters, *learners])

    async def _add(self) -> None:
        """Whether or not the answer came: the machine is there, and waits to be called."""
        if len(self._cluster.machines) >= MAX_MACHINES:
            return
        name = self._cluster.add()
        address, learner = f"{name}:{PEER_PORT}", self._randomness.random() < 0.5
        await self._cluster.start(name)
        await self._client.member_add([address], learner)

    async def _remove(self, voters: list[Member]) -> None:
        """Its machine is switched off some time later, or not at all."""
        gone = self._randomness.choice(voters)
        if gone.name:
            await self._client.member_remove(gone.id)
            if gone.name in self._cluster.names:
                self._cluster.names.remove(gone.name)
