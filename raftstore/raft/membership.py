"""Who takes part: configurations and which changes of them are safe (thesis chapter 4). Pure.

Members are known by id: a text that stays with one folder for ever. Names, addresses and URLs may
change, and a member that was removed never comes back under its id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from raftstore.errors import (
    LearnerNotReady,
    MemberExists,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStarted,
    PeerAddressExists,
    TooManyLearners,
    UnhealthyCluster,
)
from raftstore.raft import consensus

MAX_LEARNERS = 1
MAX_REMOVED = 1000
"""Ids of the members removed last; older ones are refused all the same, only without a reason."""


class MemberRemoved(Exception):
    """This member does not belong to the store any more: its folder is of no use to it."""


class FolderLost(Exception):
    """The others know this member with another folder: what it promised there is forgotten."""


@dataclass(frozen=True)
class Peer:
    """One member as the others know it; `name` is empty until it has started once."""

    peer_addresses: tuple[str, ...]
    name: str = ""
    client_addresses: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    """Where it serves etcd's protocol, if it does."""
    incarnation: int = 0
    """Of its folder: another one means that the folder was lost. 0: not known yet."""
    joining: bool = False
    """It was added as a voter, and votes as soon as it has caught up."""

    @property
    def is_started(self) -> bool:
        return bool(self.name)

    def pack(self) -> list[Any]:
        addresses = self.peer_addresses, self.name, self.client_addresses, self.client_urls
        return [*addresses, self.incarnation, self.joining]

    @classmethod
    def unpack(cls, fields: Sequence[Any]) -> Peer:
        peers, name, clients, urls, *others = fields
        return cls(tuple(peers), name, tuple(clients), tuple(urls), *others)


@dataclass(frozen=True)
class Configuration:
    """Members by id. Voters make quorums; learners get the log and nothing else.

    Who is added as a voter is a learner until it has caught up: so a member that never starts, or
    is slow to, takes nothing from the majority (the catch-up phase of thesis 4.2.1).
    """

    voters: Mapping[str, Peer]
    learners: Mapping[str, Peer]
    removed: tuple[str, ...] = ()

    @classmethod
    def of(cls, voters: Mapping[str, Peer]) -> Configuration:
        return cls(dict(sorted(voters.items())), {})

    @classmethod
    def unpack(cls, data: bytes) -> Configuration:
        voters, learners, removed = msgpack.unpackb(data)
        return cls(_unpacked(voters), _unpacked(learners), tuple(removed))

    def pack(self) -> bytes:
        voters, learners = (
            {member: peer.pack() for member, peer in group.items()}
            for group in (self.voters, self.learners)
        )
        packed: bytes = msgpack.packb([voters, learners, self.removed])
        return packed

    @property
    def members(self) -> dict[str, Peer]:
        return {**self.voters, **self.learners}

    def name_of(self, member: str) -> str:
        """For people: its name, or its id until it has one."""
        peer = self.members.get(member)
        return peer.name if peer is not None and peer.name else member

    # ---- changes: each differs by at most one voter, so that quorums of both always overlap

    @property
    def joining(self) -> list[str]:
        """Voters to be."""
        return [member for member, peer in self.learners.items() if peer.joining]

    def adding(self, member: str, peer: Peer, *, learner: bool = True) -> Configuration:
        """Raises MemberExists, PeerAddressExists, TooManyLearners."""
        if member in self.members or member in self.removed:
            raise MemberExists(f"a member with the id {member} is or was there")
        self._check_addresses(member, peer.peer_addresses)
        if learner and len(self.learners) - len(self.joining) >= MAX_LEARNERS:
            raise TooManyLearners("promote or remove the learner that is there first")
        added = replace(peer, joining=not learner)
        return replace(self, learners={**self.learners, member: added})

    def promoting(self, member: str) -> Configuration:
        """With a learner as voter. Raises MemberNotFound, MemberNotLearner."""
        self._check_known(member)
        if member in self.voters or member in self.joining:
            raise MemberNotLearner(f"{self.name_of(member)} is a voter already")
        return self.admitting(member)

    def admitting(self, member: str) -> Configuration:
        """With a learner, or a voter to be, as voter."""
        voter = replace(self.learners[member], joining=False)
        voters = dict(sorted({**self.voters, member: voter}.items()))
        return replace(self, voters=voters, learners=_without(self.learners, member))

    def removing(self, member: str) -> Configuration:
        """Raises MemberNotFound, and NotEnoughStarted for the last voter."""
        self._check_known(member)
        if [*self.voters] == [member]:
            raise NotEnoughStarted("the last member that votes cannot be removed")
        removed = (*self.removed, member)[-MAX_REMOVED:]
        return Configuration(
            _without(self.voters, member), _without(self.learners, member), removed
        )

    def moving(self, member: str, peer_addresses: Sequence[str]) -> Configuration:
        """With other addresses for a member. Raises MemberNotFound, PeerAddressExists."""
        self._check_known(member)
        self._check_addresses(member, peer_addresses)
        moved = replace(self.members[member], peer_addresses=tuple(peer_addresses))
        return self._with(member, moved)

    def publishing(self, told: Mapping[str, Peer]) -> Configuration:
        """With what members told of themselves when they started; where they are stays."""
        after = self
        for member, peer in told.items():
            known = self.members.get(member)
            if known is not None:
                at = known.peer_addresses
                after = after._with(member, replace(peer, peer_addresses=at, joining=known.joining))
        return after

    def _with(self, member: str, peer: Peer) -> Configuration:
        if member in self.voters:
            return replace(self, voters={**self.voters, member: peer})
        return replace(self, learners={**self.learners, member: peer})

    def _check_known(self, member: str) -> None:
        if member not in self.members:
            raise MemberNotFound(f"no member has the id {member}")

    def _check_addresses(self, member: str, addresses: Collection[str]) -> None:
        for other, peer in self.members.items():
            if other != member and set(peer.peer_addresses) & set(addresses):
                raise PeerAddressExists(
                    f"{self.name_of(other)} has the address {', '.join(peer.peer_addresses)}"
                )


def check_change(
    before: Configuration,
    after: Configuration,
    alive: Collection[str],
    matches: Mapping[str, int],
    commit_index: int,
) -> None:
    """Refuse what could cost the store its majority, as etcd does (`strict-reconfig-check`).

    `alive`: who answered lately; `matches`: what is known of the others' logs. Members are added
    only where all that vote are alive, and a second voter to a store of one in any case. Raises
    UnhealthyCluster, NotEnoughStarted, LearnerNotReady.
    """
    for member in set(after.voters) - set(before.voters):
        _check_ready(after.name_of(member), matches.get(member, 0), commit_index)
    added = set(after.members) - set(before.members)
    if added:
        _check_addition(before, alive, voter=bool(added & set(after.joining)))
    elif set(after.voters) != set(before.voters):
        _check_quorum(after, alive)


def _check_addition(before: Configuration, alive: Collection[str], *, voter: bool) -> None:
    voting = [*before.voters, *before.joining]
    started = sum(before.members[member].is_started for member in voting)
    if voter and len(voting) > 1 and started < consensus.quorum(len(voting) + 1):
        raise NotEnoughStarted(f"only {started} of the {len(voting)} voters have started")
    silent = [before.name_of(member) for member in voting if member not in alive]
    if silent:
        raise UnhealthyCluster(f"{', '.join(silent)} does not answer: start or remove it first")


def _check_quorum(after: Configuration, alive: Collection[str]) -> None:
    started = sum(peer.is_started for peer in after.voters.values())
    if started < consensus.quorum(len(after.voters)):
        raise NotEnoughStarted(f"only {started} of {len(after.voters)} voters have started")
    if not consensus.is_quorum(alive, [*after.voters]):
        raise UnhealthyCluster(
            f"only {len(set(alive) & set(after.voters))} of the {len(after.voters)} members that "
            "would vote answer: start the others first"
        )


def _check_ready(name: str, match_index: int, commit_index: int) -> None:
    """A learner may vote once it has nine tenths of what is committed, as in etcd."""
    if match_index * 10 < commit_index * 9:
        raise LearnerNotReady(f"{name} has {match_index} of {commit_index} entries")


def _without(members: Mapping[str, Peer], member: str) -> dict[str, Peer]:
    return {other: peer for other, peer in members.items() if other != member}


def _unpacked(packed: Mapping[str, Sequence[Any]]) -> dict[str, Peer]:
    return {member: Peer.unpack(fields) for member, fields in packed.items()}
