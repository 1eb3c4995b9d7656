"""`raykube store replace-member`: a member whose folder is damaged or lost gets a new one.

Remove it, add it again as a learner at the same address, have the supervisor start it as that one
(it then sets its folder aside and copies the state from the others), wait until it is in sync, have
it vote. Each step looks first whether it is done already, so the command can be interrupted and
repeated. The store refuses what would cost it its majority.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from actors import control, discovery
from actors.errors import ActorError
from cluster import compose
from cluster.cli import clusters, store_client
from cluster.cli.errors import NOT_READY, CommandError
from cluster.cli.progress import Progress
from cluster.cli.store_client import Place
from raftstore.client import StoreClient
from raftstore.errors import (
    LearnerNotReady,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStarted,
    StoreError,
    TooManyLearners,
    Unavailable,
    UnhealthyCluster,
)
from raftstore.types import Member, Members, MemberStatus

SILENT_S = 10.0
"""How long a member may not answer before it counts as broken: it may be starting just now."""
POLL_S = 0.1
Configure = Callable[[dict[str, Any]], None]


def replace_member(name: str, member: str, wait: float) -> None:
    """Raises CommandError."""
    shape = clusters.load(name)
    places = store_client.places(shape)
    if member not in places:
        known = ", ".join(places)
        raise CommandError(f"the store has no member named {member}", hint=f"there are: {known}")
    progress = Progress()

    def configure(settings: dict[str, Any]) -> None:
        request = {"verb": "configure", "name": member, "settings": settings}
        try:
            control.call(shape.folder, request)
        except ActorError as error:
            hint = "`raykube status` shows whether the supervisor runs"
            raise CommandError(str(error), hint=hint) from error

    def is_broken() -> bool:
        return "replace-member" in discovery.read(shape.folder).get(member, {}).get("detail", "")

    async def work(client: StoreClient) -> bool:
        place = places[member]
        return await Replacement(
            client, member, place, configure, progress, wait, is_broken=is_broken
        ).run()

    if store_client.run(shape, work):
        click.echo(f"{member} is in sync again and votes")
        for kept in _set_aside(shape, member):
            click.echo(f"what it held before is kept in {kept}: remove it when you like")
    else:
        said = discovery.read(shape.folder).get(member, {}).get("detail", "")
        click.echo(f"{member} is healthy ({said or 'it answers'}): there is nothing to replace")


def _set_aside(shape: compose.Shape, member: str) -> Sequence[Path]:
    return sorted(Path(shape.path("store")).glob(f"{member}.replaced-*"))


@dataclass
class Replacement:
    """Of one member. `configure`: have the supervisor start it with these settings."""

    client: StoreClient
    name: str
    place: Place
    configure: Configure
    progress: Progress
    wait_s: float
    silent_s: float = SILENT_S
    is_broken: Callable[[], bool] = lambda: False
    """Whether the member says itself that it has to be replaced."""

    async def run(self) -> bool:
        """Whether there was anything to do. Raises CommandError, StoreError."""
        found = await self._found()
        if found is not None and await self._is_healthy(found):
            if not found.learner:
                return False
        else:
            found = await self._begin_again(found)
        with self.progress.step(f"Waiting until {self.name} is in sync"):
            await self._promote(found)
        return True

    async def _found(self) -> Member | None:
        """The member as the store knows it: by its address, since it may not have started."""
        members = (await self._members()).members
        return next((m for m in members if self.place.peer in m.peer_addresses), None)

    async def _members(self) -> Members:
        try:
            return await self.client.member_list()
        except Unavailable as error:
            raise CommandError(
                f"the store has no leader ({error}): nothing can be replaced without a majority",
                hint="start the other members; if most are lost, `raykube up --restore BACKUP`",
            ) from error

    async def _begin_again(self, found: Member | None) -> Member:
        if found is not None and found.name:
            with self.progress.step(f"Removing {self.name} ({found.id:x})"):
                await self._remove(found)
            found = None
        if found is None:
            with self.progress.step(f"Adding {self.name} again as a learner"):
                found = await self._add()
        with self.progress.step(f"Starting {self.name} with an empty folder"):
            cluster = f"{(await self._members()).cluster_id:x}"
            self.configure({"identity": {"cluster": cluster, "member": f"{found.id:x}"}})
        return found

    async def _remove(self, found: Member) -> None:
        try:
            await self.client.member_remove(found.id)
        except MemberNotFound:
            return
        except (UnhealthyCluster, NotEnoughStarted) as error:
            raise CommandError(
                f"{self.name} cannot be removed: that would cost the store its majority ({error})",
                hint="start the other members first, then try again",
            ) from error

    async def _add(self) -> Member:
        deadline_s = time.monotonic() + self.silent_s
        while True:
            try:
                added = await self.client.member_add([self.place.peer], learner=True)
            except TooManyLearners as error:
                hint = "`raykube store members` shows it: finish its replacement first"
                raise CommandError("another member is a learner", hint=hint) from error
            except UnhealthyCluster as error:
                if time.monotonic() > deadline_s:
                    hint = "start the others, then repeat the command: it goes on from here"
                    raise CommandError(f"nothing can be added now: {error}", hint=hint) from error
                await self._pause()
            else:
                return added.member

    async def _is_healthy(self, found: Member) -> bool:
        """Whether it answers as the member that the store knows, within a time."""
        if not found.name:
            return False
        with self.progress.step(f"Asking {self.name} how it is"):
            deadline_s = time.monotonic() + self.silent_s
            while not self._answers(await self._status(), found):
                if self.is_broken() or time.monotonic() > deadline_s:
                    return False
                await self._pause()
        return True

    async def _status(self) -> MemberStatus | None:
        async with self.client.member(self.place.client) as member:
            try:
                return await member.status()
            except StoreError:
                return None

    @staticmethod
    def _answers(status: MemberStatus | None, found: Member) -> bool:
        return status is not None and status.healthy and status.member_id == found.id

    async def _promote(self, found: Member) -> None:
        """Once it answers and has caught up."""
        deadline_s = time.monotonic() + self.wait_s
        refusal: StoreError | None = None
        while time.monotonic() < deadline_s:
            status = await self._status()
            if self._answers(status, found):
                self.progress.detail(f"at entry {status.applied_index}" if status else "")
                try:
                    await self.client.member_promote(found.id)
                except MemberNotLearner:
                    return
                except (LearnerNotReady, UnhealthyCluster, NotEnoughStarted) as error:
                    refusal = error
                else:
                    return
            await self._pause()
        raise CommandError(
            f"{self.name} is not in sync after {self.wait_s:.0f} s ({refusal or 'no answer'})",
            hint=f"`raykube logs {self.name}` tells more; repeat the command: it goes on from here",
            code=NOT_READY,
        )

    async def _pause(self) -> None:
        await asyncio.sleep(POLL_S)
