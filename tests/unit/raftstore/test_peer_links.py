"""Links between members: who is dialled, who is refused, and what does not answer."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from actors.seams import system_seams
from actors.seams.network import SystemNetwork
from raftstore.raft import transport
from raftstore.raft.folder import Identity
from raftstore.raft.membership import FolderLost, MemberRemoved, Peer
from raftstore.raft.transport import Events, PeerTransport

CLUSTER = 77


class SilentAtFirst(SystemNetwork):
    """The first connection never comes about, as to a machine that is off."""

    def __init__(self) -> None:
        self.dials = 0

    async def connect(self, *arguments: Any, **options: Any) -> Any:
        self.dials += 1
        if self.dials == 1:
            await asyncio.Event().wait()
        return await super().connect(*arguments, **options)


class Side:
    """One member's transport, and what it heard."""

    def __init__(self, number: int) -> None:
        self.identity = Identity(CLUSTER, number, incarnation=number)
        self.heard: list[Any] = []
        self.refusals: list[Exception] = []
        self.connected = asyncio.Event()
        self.refused = asyncio.Event()
        self.events = Events(
            message=lambda peer, message: self.heard.append((peer, message)),
            connected=lambda peer: self.connected.set(),
            disconnected=lambda peer: None,
            silenced=lambda peer: None,
            flushed=lambda: None,
            introduced=lambda: None,
            adopted=lambda cluster, member: None,
            refused=self._refused,
        )

    def _refused(self, refusal: Exception) -> None:
        self.refusals.append(refusal)
        self.refused.set()

    async def open(self, network: SystemNetwork) -> None:
        seams = dataclasses.replace(system_seams(), network=network)
        me = Peer(("127.0.0.1:0",), f"m{self.identity.member}", incarnation=self.identity.member)
        self.transport = PeerTransport(me, self.events, None, frozenset())
        self.transport.identity = self.identity
        await self.transport.listen(seams, "127.0.0.1:0")
        listener = self.transport._listener
        assert listener is not None
        self.peer = Peer((f"127.0.0.1:{listener.port}",), me.name, incarnation=me.incarnation)

    @property
    def key(self) -> str:
        return self.identity.key


def run(scenario: Any, network: SystemNetwork | None = None) -> None:
    async def main() -> None:
        one, other = Side(1), Side(2)
        for side in (one, other):
            await side.open(network or SystemNetwork())
        try:
            async with asyncio.timeout(10):
                await scenario(one, other)
        finally:
            await one.transport.stop()
            await other.transport.stop()

    asyncio.run(main())


def test_a_dial_that_gets_no_answer_is_given_up_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "DIAL_TIMEOUT_S", 0.05)
    network = SilentAtFirst()

    async def scenario(one: Side, other: Side) -> None:
        one.transport.follow({other.key: other.peer}, ())
        await one.connected.wait()
        assert network.dials == 2

    run(scenario, network)


def test_a_stranger_of_the_same_store_is_heard_and_dialled_back() -> None:
    async def scenario(one: Side, other: Side) -> None:
        one.transport.me = one.peer
        one.transport.follow({other.key: other.peer}, ())
        await one.connected.wait()
        assert one.transport.send(other.key, {"type": "hello"})
        await other.connected.wait()
        assert other.heard == [(one.key, {"type": "hello"})]

    run(scenario)


def test_a_removed_member_is_refused_and_told_so() -> None:
    async def scenario(one: Side, other: Side) -> None:
        other.transport.follow({}, [one.key])
        one.transport.follow({other.key: other.peer}, ())
        await one.refused.wait()
        assert isinstance(one.refusals[0], MemberRemoved)
        assert other.transport.known == {}

    run(scenario)


def test_a_member_that_is_removed_while_linked_loses_its_link() -> None:
    async def scenario(one: Side, other: Side) -> None:
        one.transport.follow({other.key: other.peer}, ())
        other.transport.follow({one.key: one.peer}, ())
        await other.connected.wait()
        while one.key not in other.transport.known:
            await asyncio.sleep(0.01)
        other.transport.follow({}, [one.key])
        await one.refused.wait()
        while other.transport.known or other.transport.has_room(one.key):
            await asyncio.sleep(0.01)

    run(scenario)


def test_another_folder_under_a_known_id_is_refused() -> None:
    async def scenario(one: Side, other: Side) -> None:
        known = dataclasses.replace(one.peer, incarnation=99)
        other.transport.follow({one.key: known}, ())
        one.transport.follow({other.key: other.peer}, ())
        await one.refused.wait()
        assert isinstance(one.refusals[0], FolderLost)

    run(scenario)


def test_a_member_of_another_store_is_not_heard() -> None:
    async def scenario(one: Side, other: Side) -> None:
        one.transport.identity = one.identity._replace(cluster=CLUSTER + 1)
        one.transport.follow({other.key: other.peer}, ())
        await one.connected.wait()
        one.transport.send(other.key, {"type": "hello"})
        while other.transport.incoming:
            await asyncio.sleep(0.01)
        assert other.heard == []
        assert one.refusals == []

    run(scenario)
