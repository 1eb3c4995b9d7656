"""Who takes part: configurations and which changes of them are safe (thesis chapter 4). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgpack

from raftstore.errors import (
    LearnerNotReady,
    MemberExists,
    MemberNotFound,
    MemberNotLearner,
    TooManyLearners,
    UnhealthyCluster,
)
from raftstore.raft import consensus

MAX_LEARNERS = 1


class MemberRemoved(Exception):
    """This member does not belong to the store any more: its folder is of no use to it."""


@dataclass(frozen=True)
class Configuration:
    """Members by name, each with the address at which the others reach it.

    Voters make quorums; learners get the log and nothing else.
    """

    voters: Mapping[str, str]
    learners: Mapping[str, str]

    @classmethod
    def of(cls, voters: Mapping[str, str]) -> Configuration:
        return cls(dict(sorted(voters.items())), {})

    @classmethod
    def unpack(cls, data: bytes) -> Configuration:
        voters, learners = msgpack.unpackb(data)
        return cls(voters, learners)

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb([dict(self.voters), dict(self.learners)])
        return packed

    @property
    def members(self) -> dict[str, str]:
        return {**self.voters, **self.learners}

    # ---- changes: each differs by at most one voter, so that quorums of both always overlap

    def adding(self, name: str, address: str) -> Configuration:
        """With a new learner. Raises MemberExists, TooManyLearners."""
        if name in self.members or address in self.members.values():
            raise MemberExists(f"a member with the name {name} or the address {address} is there")
        if len(self.learners) >= MAX_LEARNERS:
            raise TooManyLearners("promote or remove the learner that is there first")
        return Configuration(self.voters, {**self.learners, name: address})

    def promoting(self, name: str) -> Configuration:
        """With a learner as voter. Raises MemberNotFound, MemberNotLearner."""
        self._check_known(name)
        if name not in self.learners:
            raise MemberNotLearner(f"{name} votes already")
        voters = dict(sorted({**self.voters, name: self.learners[name]}.items()))
        return Configuration(voters, _without(self.learners, name))

    def removing(self, name: str) -> Configuration:
        """Without a member. Raises MemberNotFound, and UnhealthyCluster for the last voter."""
        self._check_known(name)
        if [*self.voters] == [name]:
            raise UnhealthyCluster("the last member that votes cannot be removed")
        return Configuration(_without(self.voters, name), _without(self.learners, name))

    def moving(self, name: str, address: str) -> Configuration:
        """With another address for a member. Raises MemberNotFound, MemberExists."""
        self._check_known(name)
        if address in _without(self.members, name).values():
            raise MemberExists(f"another member has the address {address}")
        voters, learners = dict(self.voters), dict(self.learners)
        (voters if name in voters else learners)[name] = address
        return Configuration(voters, learners)

    def _check_known(self, name: str) -> None:
        if name not in self.members:
            raise MemberNotFound(f"no member is called {name}")


def check_change(
    before: Configuration,
    after: Configuration,
    alive: Collection[str],
    matches: Mapping[str, int],
    commit_index: int,
) -> None:
    """Refuse what would leave the store without a majority, or count a member that lags.

    `matches` has what is known of the others' logs. Raises UnhealthyCluster, LearnerNotReady.
    """
    if set(before.voters) == set(after.voters):
        return
    for name in set(after.voters) - set(before.voters):
        _check_ready(name, matches.get(name, 0), commit_index)
    if not consensus.is_quorum(alive, [*after.voters]):
        raise UnhealthyCluster(
            f"only {len(set(alive) & set(after.voters))} of the {len(after.voters)} members that "
            "would vote answer: start the others first"
        )


def _check_ready(name: str, match_index: int, commit_index: int) -> None:
    """A learner may vote once it has nine tenths of what is committed, as in etcd."""
    if match_index * 10 < commit_index * 9:
        raise LearnerNotReady(f"{name} has {match_index} of {commit_index} entries")


def _without(members: Mapping[str, str], name: str) -> dict[str, str]:
    return {member: address for member, address in members.items() if member != name}
