"""`SafeSyncObj`: PySyncObj made to keep the rules of Raft.

PySyncObj gives the object: its log, term, vote and state fields and their life cycle. Every
decision about messages, elections, commitment and application is overridden here with the rules
of `consensus`, because release 0.3.17 truncates without a conflict, commits what it did not
match, counts acknowledgements of older terms, executes an entry again when a callback raises,
and unpickles what peers send. The overridden methods are private and name-mangled, so the exact
file is verified at import (`raftstore.raft.library`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node

from actors.seams import Clock, Randomness
from raftstore.raft import consensus
from raftstore.raft.consensus import Position
from raftstore.raft.interface import Callback, Message, Outcome, Owner, Timing
from raftstore.raft.library import STATE, NoTransport, constructing
from raftstore.raft.progress import Progress
from raftstore.raft.replication import Replicator
from raftstore.raft.transfer import Transfer
from raftstore.raft.wal import Wal

_REGULAR, _NO_OP = b"\x00", b"\x01"
MAX_APPLIED_PER_TICK = 256
_logger = logging.getLogger(__name__)


class SafeSyncObj(SyncObj):  # type: ignore[misc]
    """One member's consensus. Call `receive` with messages and `doTick` after them."""

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        wal: Wal,
        applied: Position,
        timing: Timing,
        clock: Clock,
        randomness: Randomness,
        owner: Owner,
    ) -> None:
        self._name, self._members, self._wal = name, sorted(members), wal
        self._peers = [member for member in self._members if member != name]
        self._timing, self._clock, self._randomness = timing, clock, randomness
        self._owner = owner
        self._replicator = Replicator(owner, wal)
        self._progress: dict[str, Progress] = {}
        self._votes: set[str] = set()
        self._pre_votes: set[str] | None = None
        self._leader_seen_s = float("-inf")
        self._heartbeat_due_s = 0.0
        self._noop_index = 0
        self._transfer: Transfer | None = None
        self._nodes = {member: Node(member) for member in self._members}
        with constructing(wal):
            super().__init__(
                self._nodes[name],
                [self._nodes[peer] for peer in self._peers],
                SyncObjConf(autoTick=False, appendEntriesUseBatch=True),
                transport=NoTransport(),
                nodeClass=Node,
            )
        if wal.term < self.raftCurrentTerm:
            self._SyncObj__setCurrentTerm(self.raftCurrentTerm, None)
        self._SyncObj__raftCommitIndex = max(applied.index, 1)
        self._SyncObj__raftLastApplied = max(applied.index, 1)
        self._expect_early_election()

    # ---- what others may ask

    @property
    def leader(self) -> str | None:
        node = self._SyncObj__raftLeader
        return None if node is None else str(node.id)

    @property
    def is_leader(self) -> bool:
        return bool(self._SyncObj__raftState == STATE.LEADER)

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    @property
    def known_commit_index(self) -> int:
        """The highest commit index that this member has heard of."""
        return max(self.commit_index, int(self._SyncObj__leaderCommitIndex or 0))

    @property
    def is_established(self) -> bool:
        """Leads, and has applied an entry of its own term: it knows all that is committed."""
        return self.is_leader and self.applied_index >= self._noop_index

    @property
    def progress(self) -> Mapping[str, Progress]:
        return self._progress

    @property
    def has_work(self) -> bool:
        return self.commit_index > self.applied_index or (
            self.is_leader and self._committed() > self.commit_index
        )

    def due_s(self) -> float:
        """When `doTick` must be called at the latest."""
        own_s = self._heartbeat_due_s if self.is_leader else self._SyncObj__raftElectionDeadline
        return float(own_s if self._transfer is None else min(own_s, self._transfer.deadline_s))

    def propose(self, command: bytes, callback: Callback) -> None:
        """Append a command; the callback hears of its outcome, once."""
        if not self.is_leader or self._transfer is not None:
            callback(Outcome.REFUSED, None)
            return
        index = self._wal.last_index + 1
        self._wal.append((_REGULAR + command, index, self.term))
        self._SyncObj__commandsWaitingCommit[index].append((self.term, callback))

    def transfer_leadership(self, target: str, done: Callable[[bool], None]) -> None:
        """Hand over to `target`, taking no writes meanwhile (thesis 3.10).

        `done(True)` once it leads; `done(False)` if not within an election timeout, if another
        member came first, or if this one does not lead; a transfer under way is given up.
        """
        self._end_transfer(None)
        if not self.is_leader or target not in self._progress:
            done(False)
            return
        deadline_s = self._clock.now() + self._timing.election_timeout_s[1]
        self._transfer = Transfer(target, deadline_s, done)

    def give_up_transfer(self) -> None:
        self._end_transfer(None)

    def best_successor(self) -> str | None:
        """The follower that has most of the log, of those that answered lately."""
        oldest_s = self._clock.now() - self._timing.election_timeout_s[0]
        alive = [(p.match, name) for name, p in self._progress.items() if p.last_reply_s > oldest_s]
        return max(alive)[1] if alive else None

    # ---- links

    def link_up(self, peer: str) -> None:
        self._SyncObj__connectedNodes.add(self._nodes[peer])
        if peer in self._progress:
            self._progress[peer].restart()
        if self.leader is None:
            self._expect_early_election()

    def link_down(self, peer: str) -> None:
        self._SyncObj__connectedNodes.discard(self._nodes[peer])

    def peer_silenced(self, peer: str) -> None:
        """The peer's connection broke, so it may have died: only a hint, never a proof."""
        if peer == self.leader and not self.is_leader:
            self._leader_seen_s = float("-inf")
            self._expect_early_election()

    # ---- messages

    def receive(self, peer: str, message: Message) -> None:
        """Handle one message of a member."""
        self._SyncObj__onMessageReceived(self._nodes[peer], message)

    def _SyncObj__onMessageReceived(self, node: Node, message: Message) -> None:
        handler = getattr(self, f"_on_{message['type']}", None)
        if handler is None:
            self._owner.other_message(node.id, message)
        else:
            handler(node.id, message)

    def observe_term(self, term: int) -> None:
        """Any higher term ends leadership and candidacy (section 5.1)."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
            self._follow(None)

    def follow_leader(self, leader: str, term: int) -> bool:
        """A message that only a leader of `term` sends. False if it is of an older term."""
        self.observe_term(term)
        if term < self.term:
            return False
        if self.is_leader:
            raise consensus.SafetyViolation(f"two leaders in term {term}")
        self._leader_seen_s = self._clock.now()
        self._delay_election()
        self._follow(leader)
        return True

    def _on_append(self, peer: str, message: Message) -> None:
        previous = Position(message["previous_term"], message["previous_index"])
        if not self.follow_leader(peer, message["term"]):
            self._reply(peer, False, previous.index, self._wal.last_index)
            return
        self._SyncObj__leaderCommitIndex = message["commit"]
        decision = consensus.decide_append(
            self._wal,
            self.commit_index,
            previous,
            [(command, index, term) for command, index, term in message["entries"]],
            message["commit"],
        )
        if decision.truncate_from is not None:
            self._truncate(decision.truncate_from)
        for entry in decision.new_entries:
            self._wal.append(entry)
        self._SyncObj__raftCommitIndex = decision.commit_index
        self._reply(peer, decision.accepted, previous.index, decision.match_index)

    def _truncate(self, index: int) -> None:
        """Entries that can never be committed any more: their proposers may try again."""
        self._wal.truncate_from(index)
        waiting = self._SyncObj__commandsWaitingCommit
        for lost in [i for i in waiting if i >= index]:
            for _, callback in waiting.pop(lost):
                self._call(callback, Outcome.REFUSED, None)

    def _reply(self, peer: str, accepted: bool, previous: int, match: int) -> None:
        self._owner.post_when_durable(
            peer,
            {
                "type": "append_reply",
                "term": self.term,
                "accepted": accepted,
                "previous": previous,
                "match": match,
            },
        )

    def _on_append_reply(self, peer: str, message: Message) -> None:
        self.observe_term(message["term"])
        if message["term"] != self.term or not self.is_leader:
            return
        progress = self._progress[peer]
        progress.last_reply_s = self._clock.now()
        if message["accepted"]:
            progress.accepted(min(message["match"], self._wal.last_index))
        else:
            progress.refused(message["previous"], message["match"])

    def heard_from(self, peer: str) -> None:
        """A follower answered in the current term by other means than an append reply."""
        if peer in self._progress:
            self._progress[peer].last_reply_s = self._clock.now()

    # ---- elections

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
        if consensus.is_quorum(self._pre_votes, self._members):
            self._campaign()

    def _on_timeout_now(self, peer: str, message: Message) -> None:
        """The leader asks this member to take over at once: it is alive, so no pre-vote helps."""
        if message["term"] == self.term and peer == self.leader:
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
        if consensus.is_quorum(self._votes, self._members):
            self._SyncObj__onBecomeLeader()

    def _start_pre_vote(self) -> None:
        self._delay_election()
        self._follow(None)
        self._pre_votes = {self._name}
        if consensus.is_quorum(self._pre_votes, self._members):
            self._campaign()
            return
        self._ask_for_votes("pre_vote", self.term + 1)

    def _campaign(self, *, by_transfer: bool = False) -> None:
        self._pre_votes = None
        self._delay_election()
        self._SyncObj__setState(STATE.CANDIDATE)
        self._SyncObj__setCurrentTerm(self.term + 1, self._name)
        self._votes = {self._name}
        if consensus.is_quorum(self._votes, self._members):
            self._SyncObj__onBecomeLeader()
        else:
            self._ask_for_votes("vote", self.term, by_transfer)

    def _ask_for_votes(self, kind: str, term: int, by_transfer: bool = False) -> None:
        last = self._position()
        request = {"type": kind, "term": term, "last_term": last.term, "last_index": last.index}
        request["by_transfer"] = by_transfer
        for peer in self._peers:
            self._owner.post_when_durable(peer, request)

    def _SyncObj__onBecomeLeader(self) -> None:
        now_s, last = self._clock.now(), self._wal.last_index
        self._progress = {peer: Progress(0, last + 1, now_s) for peer in self._peers}
        self._noop_index = last + 1
        self._wal.append((_NO_OP, self._noop_index, self.term))
        self._heartbeat_due_s = now_s
        self._SyncObj__raftLeader = self._nodes[self._name]
        self._SyncObj__setState(STATE.LEADER)
        _logger.info("%s leads in term %d", self._name, self.term)
        self._owner.leadership_changed()

    def _follow(self, leader: str | None) -> None:
        """Be a follower, of `leader` if one is known."""
        led, before = self.is_leader, self.leader
        self._pre_votes = None
        self._SyncObj__raftLeader = None if leader is None else self._nodes[leader]
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
        return self.is_leader or silent_s < self._timing.election_timeout_s[0]

    def _position(self) -> Position:
        return Position(self._wal.entries[-1][2], self._wal.last_index)

    def _delay_election(self) -> None:
        self._expect_election(self._SyncObj__generateRaftTimeout())

    def _expect_early_election(self) -> None:
        """There may be no leader: do not wait a whole timeout. A pre-vote disturbs nobody."""
        if self._peers:
            shortest_s = self._timing.election_timeout_s[0]
            self._expect_election(self._randomness.uniform(0.05, 0.4) * shortest_s)
        else:
            self._expect_election(0.0)

    def _expect_election(self, delay_s: float) -> None:
        self._SyncObj__raftElectionDeadline = self._clock.now() + delay_s

    def _SyncObj__generateRaftTimeout(self) -> float:
        return self._randomness.uniform(*self._timing.election_timeout_s)

    # ---- ticks

    def _onTick(self, timeToWait: float = 0.0) -> None:
        now_s = self._clock.now()
        if self.is_leader:
            self._check_quorum(now_s)
        elif now_s >= self._SyncObj__raftElectionDeadline:
            self._start_pre_vote()
        if self.is_leader:
            self._SyncObj__raftCommitIndex = self._committed()
        self._SyncObj__applyLogEntries()
        if self._transfer is not None:
            self._hand_over(self._transfer, now_s)
        if self.is_leader:
            self._SyncObj__sendAppendEntries()

    def _hand_over(self, transfer: Transfer, now_s: float) -> None:
        """Once all is committed and the target has it, have it campaign; again every heartbeat."""
        if now_s >= transfer.deadline_s:
            self._end_transfer(None)
        elif self.is_leader and self.commit_index == self._wal.last_index:
            caught_up = self._progress[transfer.target].match == self._wal.last_index
            if caught_up and transfer.asks(now_s, self._timing.heartbeat_s):
                self._owner.post(transfer.target, {"type": "timeout_now", "term": self.term})

    def _end_transfer(self, leader: str | None) -> None:
        transfer, self._transfer = self._transfer, None
        if transfer is not None:
            transfer.done(leader == transfer.target)

    def _check_quorum(self, now_s: float) -> None:
        """A leader that a majority has not answered within an election timeout steps down."""
        oldest_s = now_s - self._timing.election_timeout_s[1]
        heard = [p for p, progress in self._progress.items() if progress.last_reply_s >= oldest_s]
        if not consensus.is_quorum([self._name, *heard], self._members):
            _logger.warning("%s lost touch with the majority and steps down", self._name)
            self._follow(None)

    def _committed(self) -> int:
        matches = [progress.match for progress in self._progress.values()]
        return consensus.committed_index(
            [self._wal.durable_index, *matches], self.commit_index, self.term, self._wal.term_at
        )

    def _SyncObj__applyLogEntries(self) -> bool:
        start = self.applied_index + 1
        stop = min(self.commit_index + 1, start + MAX_APPLIED_PER_TICK)
        for command, index, term in self._wal.slice(start, stop):
            result = self._SyncObj__doApplyCommand(command, index)
            self._SyncObj__raftLastApplied = index
            for proposed_term, callback in self._SyncObj__commandsWaitingCommit.pop(index, ()):
                applied = proposed_term == term
                outcome = Outcome.APPLIED if applied else Outcome.REFUSED
                self._call(callback, outcome, result if applied else None)
        return False

    def _SyncObj__doApplyCommand(self, command: bytes, index: int) -> Any:
        """An error is a result, the same on every member; only a failing machine stops one."""
        if command[:1] != _REGULAR:
            return None
        try:
            return self._owner.apply(index, command[1:])
        except (MemoryError, OSError) as error:
            raise consensus.SafetyViolation(f"cannot apply entry {index}: {error}") from error
        except Exception as error:
            _logger.exception("entry %d failed to apply", index)
            return error

    @staticmethod
    def _call(callback: Callback, outcome: Outcome, result: Any) -> None:
        """A callback belongs to a client: what it raises must not touch replication."""
        try:
            callback(outcome, result)
        except Exception:
            _logger.exception("callback of a proposal failed")

    def _SyncObj__sendAppendEntries(self) -> None:
        now_s = self._clock.now()
        beat = now_s >= self._heartbeat_due_s
        if beat:
            self._heartbeat_due_s = now_s + self._timing.heartbeat_s
        for peer, progress in self._progress.items():
            if self._nodes[peer] in self._SyncObj__connectedNodes:
                self._replicator.replicate(peer, progress, self.term, self.commit_index, beat)

    # ---- snapshots

    def installed(self, position: Position) -> None:
        """The owner's state is now the snapshot at `position`; the log goes on behind it.

        Entries behind it stay if the log agrees with it (section 7, receiver step 6).
        """
        if not self._wal.holds(position.index, position.term):
            self._wal.reset(position.index, position.term)
        self._SyncObj__raftCommitIndex = position.index
        self._SyncObj__raftLastApplied = position.index
        self.fail_waiting()
