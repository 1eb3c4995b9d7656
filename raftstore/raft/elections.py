"""Pre-votes, votes, and becoming leader or follower (section 5.2, thesis 4.2.3, 9.6, 3.10)."""

from __future__ import annotations

import logging

from pysyncobj import SyncObj

from raftstore.raft import consensus
from raftstore.raft.consensus import Position
from raftstore.raft.interface import Message, Outcome
from raftstore.raft.library import STATE
from raftstore.raft.progress import Progress

NO_OP = b"\x01"
_logger = logging.getLogger(__name__)


class Elections(SyncObj):  # type: ignore[misc]
    """The part of `SafeSyncObj` (which sets all fields) that decides who leads."""

    _pre_votes: set[str] | None
    _votes: set[str]

    def _on_pre_vote(self, peer: str, message: Message) -> None:
        theirs = Position(message["last_term"], message["last_index"])
        granted = consensus.grants_pre_vote(
            self.term, message["term"], self._position(), theirs, self._leader_is_alive()
        )
        reply = {"type": "pre_vote_reply", "term": message["term"], "granted": granted}
        self._owner.post_when_durable(peer, reply | {"current": self.term})

    def _on_pre_vote_reply(self, peer: str, message: Message) -> None:
        self.observe_term(message["current"])
        if self._pre_votes is None or message["term"] != self.term + 1 or not message["granted"]:
            return
        self._pre_votes.add(peer)
        if consensus.is_quorum(self._pre_votes, self.voters):
            self._campaign()

    def _on_timeout_now(self, peer: str, message: Message) -> None:
        """The leader asks this member to take over at once: it is alive, so no pre-vote helps."""
        if message["term"] == self.term and peer == self.leader and self._name in self.voters:
            self._campaign(by_transfer=True)

    def _on_vote(self, peer: str, message: Message) -> None:
        if self._leader_is_alive() and not message["by_transfer"]:
            return  # leader stickiness: a member that lost touch must not depose it (thesis 4.2.3)
        self.observe_term(message["term"])
        theirs = Position(message["last_term"], message["last_index"])
        granted = message["term"] == self.term and consensus.grants_vote(
            self._SyncObj__votedForNodeId, peer, self._position(), theirs
        )
        if granted:
            self._SyncObj__setCurrentTerm(self.term, peer)
            self._delay_election()
        reply = {"type": "vote_reply", "term": self.term, "granted": granted}
        self._owner.post_when_durable(peer, reply)

    def _on_vote_reply(self, peer: str, message: Message) -> None:
        self.observe_term(message["term"])
        candidate = self._SyncObj__raftState == STATE.CANDIDATE
        if not candidate or message["term"] != self.term or not message["granted"]:
            return
        self._votes.add(peer)
        if consensus.is_quorum(self._votes, self.voters):
            self._SyncObj__onBecomeLeader()

    def _start_pre_vote(self) -> None:
        self._delay_election()
        if self._name not in self.voters:
            return
        self._follow(None)
        self._pre_votes = {self._name}
        if consensus.is_quorum(self._pre_votes, self.voters):
            self._campaign()
            return
        self._ask_for_votes("pre_vote", self.term + 1)

    def _campaign(self, *, by_transfer: bool = False) -> None:
        self._pre_votes = None
        self._delay_election()
        self._SyncObj__setState(STATE.CANDIDATE)
        self._SyncObj__setCurrentTerm(self.term + 1, self._name)
        self._votes = {self._name}
        if consensus.is_quorum(self._votes, self.voters):
            self._SyncObj__onBecomeLeader()
        else:
            self._ask_for_votes("vote", self.term, by_transfer)

    def _ask_for_votes(self, kind: str, term: int, by_transfer: bool = False) -> None:
        last = self._position()
        request = {"type": kind, "term": term, "last_term": last.term, "last_index": last.index}
        request["by_transfer"] = by_transfer
        for peer in self.voters:
            if peer != self._name:
                self._owner.post_when_durable(peer, request)

    def _SyncObj__onBecomeLeader(self) -> None:
        now_s, last = self._clock.now(), self._wal.last_index
        others = [member for member in self.members if member != self._name]
        self._progress = {peer: Progress(0, last + 1, now_s) for peer in others}
        self._noop_index = last + 1
        self._wal.append((NO_OP, self._noop_index, self.term))
        self._heartbeat_due_s = now_s
        self._SyncObj__raftLeader = self._node(self._name)
        self._SyncObj__setState(STATE.LEADER)
        _logger.info("%s leads in term %d", self.configuration.name_of(self._name), self.term)
        self._owner.leadership_changed()

    def _follow(self, leader: str | None) -> None:
        """Be a follower, of `leader` if one is known."""
        led, before = self.is_leader, self.leader
        self._pre_votes = None
        self._SyncObj__raftLeader = None if leader is None else self._node(leader)
        self._SyncObj__setState(STATE.FOLLOWER)
        if led:
            self._progress = {}
            self._delay_election()
            self.fail_waiting()
        if leader is not None and self._transfer is not None:
            self._end_transfer(leader)
        if led or before != leader:
            self._owner.leadership_changed()

    def fail_waiting(self) -> None:
        """Proposals whose fate this member may not hear of."""
        waiting = self._SyncObj__commandsWaitingCommit
        for index in list(waiting):
            for _, callback in waiting.pop(index):
                self._call(callback, Outcome.UNKNOWN, None)

    def _leader_is_alive(self) -> bool:
        silent_s = self._clock.now() - self._leader_seen_s
        return bool(self.is_leader or silent_s < self._timing.election_timeout_s[0])

    def _position(self) -> Position:
        return Position(self._wal.entries[-1][2], self._wal.last_index)

    def _delay_election(self) -> None:
        self._expect_election(self._SyncObj__generateRaftTimeout())

    def _expect_early_election(self) -> None:
        """There may be no leader: do not wait a whole timeout. A pre-vote disturbs nobody."""
        if [*self.voters] != [self._name]:
            shortest_s = self._timing.election_timeout_s[0]
            self._expect_election(self._randomness.uniform(0.05, 0.4) * shortest_s)
        else:
            self._expect_election(0.0)

    def _expect_election(self, delay_s: float) -> None:
        self._SyncObj__raftElectionDeadline = self._clock.now() + delay_s

    def _SyncObj__generateRaftTimeout(self) -> float:
        return float(self._randomness.uniform(*self._timing.election_timeout_s))
