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
from collections.abc import Callable, Mapping
from typing import Any

from pysyncobj import SyncObjConf
from pysyncobj.node import Node

from actors.seams import Clock, Randomness
from raftstore.errors import UnhealthyCluster
from raftstore.raft import consensus
from raftstore.raft.configurations import CONFIGURATION, Configurations
from raftstore.raft.consensus import Position
from raftstore.raft.elections import Elections
from raftstore.raft.interface import Callback, Message, Outcome, Owner, Timing
from raftstore.raft.library import STATE, NoTransport, constructing
from raftstore.raft.membership import Configuration, Peer, check_change
from raftstore.raft.progress import Progress
from raftstore.raft.replication import Replicator
from raftstore.raft.transfer import Transfer
from raftstore.raft.wal import Wal

_REGULAR = b"\x00"
MAX_APPLIED_PER_TICK = 256
_logger = logging.getLogger(__name__)


class SafeSyncObj(Elections):
    """One member's consensus. Call `receive` with messages and `doTick` after them."""

    def __init__(
        self,
        name: str,
        configuration: Configuration,
        wal: Wal,
        applied: Position,
        timing: Timing,
        clock: Clock,
        randomness: Randomness,
        owner: Owner,
    ) -> None:
        """`configuration`: as of `applied`; the log may hold newer ones."""
        self._name, self._wal = name, wal
        self._configurations = Configurations(applied.index, configuration, wal.entries)
        self._settled = True
        self._timing, self._clock, self._randomness = timing, clock, randomness
        self._owner = owner
        self._replicator = Replicator(owner, wal)
        self._progress: dict[str, Progress] = {}
        self._votes, self._pre_votes = set(), None
        self._leader_seen_s = float("-inf")
        self._heartbeat_due_s = 0.0
        self._noop_index = 0
        self._sent_index = 0
        self._told_commit = True
        self._transfer: Transfer | None = None
        self._nodes: dict[str, Node] = {}
        peers = [self._node(member) for member in self.members if member != name]
        with constructing(wal):
            super().__init__(
                self._node(name),
                peers,
                SyncObjConf(autoTick=False, appendEntriesUseBatch=True),
                transport=NoTransport(),
                nodeClass=Node,
            )
        if wal.term < self.raftCurrentTerm:
            self._SyncObj__setCurrentTerm(self.raftCurrentTerm, None)
        begins = max(applied.index, min(1, wal.first_index))
        self._SyncObj__raftCommitIndex = begins
        self._SyncObj__raftLastApplied = begins
        self._expect_early_election()

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            self._nodes[name] = Node(name)
        return self._nodes[name]

    # ---- what others may ask

    @property
    def key(self) -> str:
        """The own id."""
        return self._name

    @property
    def configuration(self) -> Configuration:
        """The one that counts, committed or not."""
        return self._configurations.current

    @property
    def voters(self) -> Mapping[str, Peer]:
        return self._configurations.current.voters

    @property
    def members(self) -> Mapping[str, Peer]:
        return self._configurations.current.members

    def configuration_at(self, index: int) -> Configuration:
        """The configuration that a snapshot at `index` has to keep."""
        return self._configurations.as_of(index)

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
        """Also: others are still to hear of a commitment. Clients are answered before that."""
        return self.commit_index > self.applied_index or (
            self.is_leader and (not self._told_commit or self._committed() > self.commit_index)
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
        alive = self._alive() & set(self._progress) & set(self.voters)
        return max(sorted(alive), key=lambda peer: self._progress[peer].match, default=None)

    # ---- membership

    @property
    def can_change(self) -> bool:
        """Whether a change of the members may begin now: none is under way (thesis 4.1)."""
        free = self._configurations.index <= self.commit_index
        return self.is_established and self._transfer is None and free

    def change_members(
        self, change: Callable[[Configuration], Configuration], callback: Callback
    ) -> None:
        """Replicate what `change` makes of the configuration; it counts from now on.

        One change at a time, by a leader that knows all that is committed (thesis 4.1), and none
        that would leave too few voters alive. Raises StoreError if it is refused.
        """
        if not self.is_established or self._transfer is not None:
            raise UnhealthyCluster("this member does not lead, or leadership is changing")
        if self._configurations.index > self.commit_index:
            raise UnhealthyCluster("another change of the members is under way")
        before = self._configurations.current
        after = change(before)
        check_change(before, after, self._alive(), self._matches(), self.commit_index)
        index = self._wal.last_index + 1
        command = CONFIGURATION + after.pack()
        self._wal.append((command, index, self.term))
        self._SyncObj__commandsWaitingCommit[index].append((self.term, callback))
        self._configurations.appended(index, command)
        self._settled = False
        self._follow_members()
        self._owner.configuration_changed()

    def _alive(self) -> set[str]:
        oldest_s = self._clock.now() - self._timing.election_timeout_s[0]
        heard = {peer for peer, p in self._progress.items() if p.last_reply_s > oldest_s}
        return heard | {self._name}

    def _matches(self) -> dict[str, int]:
        return {peer: progress.match for peer, progress in self._progress.items()}

    def _follow_members(self) -> None:
        """Replicate to new members at once; to those that leave until that is committed."""
        now_s, last = self._clock.now(), self._wal.last_index
        for peer in self.members:
            if peer != self._name and peer not in self._progress:
                self._progress[peer] = Progress(0, last, now_s)

    def _settle(self) -> None:
        """The newest configuration is committed: tell those that left, then forget them."""
        if self.applied_index < self._configurations.index:
            return
        self._settled = True
        for peer in [peer for peer in self._progress if peer not in self.members]:
            progress = self._progress.pop(peer)
            self._replicator.replicate(peer, progress, self.term, self.commit_index, beat=True)
        if self._name not in self.voters:
            self._leave()

    def _leave(self) -> None:
        """A leader that was removed has the best follower take over (thesis 4.2.2)."""
        for peer, progress in self._progress.items():
            self._replicator.replicate(peer, progress, self.term, self.commit_index, beat=True)
        successor = self.best_successor()
        if successor is not None:
            self._owner.post(successor, {"type": "timeout_now", "term": self.term})
        self._follow(None)

    # ---- links

    def link_up(self, peer: str) -> None:
        self._SyncObj__connectedNodes.add(self._node(peer))
        if peer in self._progress:
            self._progress[peer].restart()
        if self.leader is None:
            self._expect_early_election()

    def link_down(self, peer: str) -> None:
        self._SyncObj__connectedNodes.discard(self._node(peer))

    def peer_silenced(self, peer: str) -> None:
        """The peer's connection broke, so it may have died: only a hint, never a proof."""
        if peer == self.leader and not self.is_leader:
            self._leader_seen_s = float("-inf")
            self._expect_early_election()

    # ---- messages

    def receive(self, peer: str, message: Message) -> None:
        """Handle one message of a member."""
        self._SyncObj__onMessageReceived(self._node(peer), message)

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
            if entry[0][0] == CONFIGURATION[0]:
                self._configurations.appended(entry[1], entry[0])
                self._owner.configuration_changed()
        self._SyncObj__raftCommitIndex = decision.commit_index
        self._reply(peer, decision.accepted, previous.index, decision.match_index)

    def _truncate(self, index: int) -> None:
        """Entries that can never be committed any more: their proposers may try again."""
        self._wal.truncate_from(index)
        if self._configurations.truncated(index):
            self._owner.configuration_changed()
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
        progress = self._progress.get(peer)
        if message["term"] != self.term or not self.is_leader or progress is None:
            return
        progress.last_reply_s = self._clock.now()
        if message["accepted"]:
            progress.accepted(min(message["match"], self._wal.last_index))
        else:
            progress.refused(message["previous"], message["match"])

    def heard_from(self, peer: str) -> None:
        """A follower answered in the current term by other means than an append reply."""
        if peer in self._progress:
            self._progress[peer].last_reply_s = self._clock.now()

    # ---- ticks

    def _onTick(self, timeToWait: float = 0.0) -> None:
        now_s = self._clock.now()
        if self.is_leader:
            self._check_quorum(now_s)
        elif now_s >= self._SyncObj__raftElectionDeadline:
            self._start_pre_vote()
        applied = self.applied_index
        if self.is_leader:
            self._SyncObj__raftCommitIndex = self._committed()
            if self._wal.last_index > self._sent_index:
                self._SyncObj__sendAppendEntries()  # others work while this one applies
        self._SyncObj__applyLogEntries()
        self._told_commit = self.applied_index == applied
        if self._transfer is not None:
            self._hand_over(self._transfer, now_s)
        if not self._settled and self.is_leader:
            self._settle()
        if self.is_leader and (self._told_commit or self._wal.last_index > self._sent_index):
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
        if not consensus.is_quorum([self._name, *heard], self.voters):
            name = self.configuration.name_of(self._name)
            _logger.warning("%s lost touch with the majority and steps down", name)
            self._follow(None)

    def _committed(self) -> int:
        voters = self.voters
        matches = [progress.match for peer, progress in self._progress.items() if peer in voters]
        if self._name in voters:
            matches.append(self._wal.durable_index)
        return consensus.committed_index(matches, self.commit_index, self.term, self._wal.term_at)

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
            if command[:1] == CONFIGURATION:
                self._owner.configuration_applied(Configuration.unpack(command[1:]))
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
        self._sent_index = self._wal.last_index
        beat = now_s >= self._heartbeat_due_s
        if beat:
            self._heartbeat_due_s = now_s + self._timing.heartbeat_s
        for peer, progress in self._progress.items():
            if self._node(peer) in self._SyncObj__connectedNodes:
                self._replicator.replicate(peer, progress, self.term, self.commit_index, beat)

    # ---- snapshots

    def installed(self, position: Position, configuration: Configuration) -> None:
        """The owner's state is now the snapshot at `position`; the log goes on behind it.

        Entries behind it stay if the log agrees with it (section 7, receiver step 6).
        """
        if not self._wal.holds(position.index, position.term):
            self._wal.reset(position.index, position.term)
        self._configurations = Configurations(position.index, configuration, self._wal.entries)
        self._owner.configuration_changed()
        self._SyncObj__raftCommitIndex = position.index
        self._SyncObj__raftLastApplied = position.index
        self.fail_waiting()
