"""What clients ask of the members themselves: who they are, changes, who leads.

A change may be repeated: an id is made of what the client drew, so who adds a member twice gets
the same one. What a repeated removal or promotion means is told by the error (see `StoreClient`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from raftstore import identity, wire
from raftstore.errors import (
    BadPeerAddress,
    InvalidRequest,
    MemberNotFound,
    NotLeader,
    StoreError,
    Unavailable,
    UnknownOutcome,
)
from raftstore.identity import format_id
from raftstore.raft.interface import Outcome
from raftstore.raft.membership import Configuration, Peer
from raftstore.raft.node import RaftNode
from raftstore.raft.roster import Change
from raftstore.raft.transport import split_address
from raftstore.types import Member, Members

Answer = Callable[[bytes], None]
MAX_ADDRESSES = 8


class MemberOperations:
    """Of one member's node."""

    def __init__(self, node: RaftNode) -> None:
        self._node = node
        self._changes: dict[str, Callable[..., Change]] = {
            "add": self._adding,
            "remove": _removing,
            "promote": _promoting,
            "update": _updating,
        }

    # ---- facts

    @property
    def own_id(self) -> int:
        return int(self._node.raft.key, 16)

    @property
    def leader_id(self) -> int:
        """0: none is known."""
        return int(self._node.raft.leader or "0", 16)

    @property
    def leader_name(self) -> str:
        return self._known(self._node.raft.leader).name or self._node.raft.leader or ""

    @property
    def leader_address(self) -> str:
        """Where clients reach it; empty if that is not known."""
        return next(iter(self._known(self._node.raft.leader).client_addresses), "")

    def _known(self, key: str | None) -> Peer:
        """What the member tells itself, else what the configuration says."""
        transport = self._node.transport
        if key is None:
            return Peer(())
        if key == self._node.raft.key:
            return transport.me
        return transport.known.get(key) or self._node.raft.members.get(key, Peer(()))

    @property
    def client_addresses(self) -> Sequence[str]:
        members = self._node.raft.members.values()
        return [address for peer in members for address in peer.client_addresses]

    def list(self) -> Members:
        configuration = self._node.raft.configuration
        members = [
            Member(
                int(key, 16),
                peer.name,
                peer.peer_addresses,
                peer.client_addresses,
                key in configuration.learners and not peer.joining,
                peer.client_urls,
            )
            for key, peer in sorted(configuration.members.items())
        ]
        return Members(self._cluster_id, members)

    @property
    def _cluster_id(self) -> int:
        found = self._node.transport.identity
        return 0 if found is None else found.cluster

    # ---- changes

    def change(self, action: str, arguments: Sequence[Any], answer: Answer) -> None:
        """Answers all members once it is committed. Raises InvalidRequest, Unavailable."""
        if action not in self._changes:
            raise InvalidRequest(f"members cannot be changed by {action!r}")
        change = self._changes[action](*arguments)

        def done(outcome: Outcome, result: Any) -> None:
            if outcome is Outcome.APPLIED:
                answer(wire.success(self.list()))
            elif outcome is Outcome.UNKNOWN:
                answer(wire.failure(UnknownOutcome("leadership changed meanwhile")))
            elif isinstance(result, StoreError):
                answer(wire.failure(result))
            else:
                answer(wire.failure(NotLeader(self.leader_address)))

        self._node.change_members(change, done)

    def _adding(self, addresses: Sequence[str], learner: bool, nonce: int) -> Change:
        peer = Peer(_checked(addresses))
        key = format_id(identity.joiner_id(addresses, self._cluster_id, nonce))

        def change(configuration: Configuration) -> Configuration:
            if key in configuration.members:  # asked for again: the first answer was lost
                return configuration
            return configuration.adding(key, peer, learner=learner)

        return change

    def move_leader(self, target_id: int, answer: Answer) -> None:
        """Hand leadership to another member. Raises MemberNotFound."""
        raft, key = self._node.raft, format_id(target_id)
        if key not in raft.voters:
            raise MemberNotFound(f"no member that votes has the id {target_id:x}")
        if key == raft.key:
            answer(wire.success(None))
            return

        def done(moved: bool) -> None:
            late = Unavailable(f"{raft.configuration.name_of(key)} did not take over in time")
            answer(wire.success(None) if moved else wire.failure(late))

        self._node.move_leader(key, done)


def _removing(member_id: int) -> Change:
    return lambda configuration: configuration.removing(format_id(member_id))


def _promoting(member_id: int) -> Change:
    return lambda configuration: configuration.promoting(format_id(member_id))


def _updating(member_id: int, addresses: Sequence[str]) -> Change:
    checked = _checked(addresses)
    return lambda configuration: configuration.moving(format_id(member_id), checked)


def _checked(addresses: Sequence[str]) -> tuple[str, ...]:
    """Raises BadPeerAddress."""
    if not 0 < len(addresses) <= MAX_ADDRESSES or len(set(addresses)) < len(addresses):
        raise BadPeerAddress(f"a member has 1 to {MAX_ADDRESSES} addresses, each once")
    for address in addresses:
        try:
            host, port = split_address(address)
        except ValueError:
            host, port = "", 0
        if not host or not 0 < port < 1 << 16:
            raise BadPeerAddress(f"{address!r} is not of the form host:port")
    return tuple(addresses)
