"""One member's replication: consensus, log, snapshots and links, driven by events.

Each turn of the loop delivers what came, ticks, makes the log durable with one sync, and only
then releases the acknowledgements and votes that depend on it (group commit). A leader sends new
entries before its own sync, so that all disks write at the same time.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import ssl
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Protocol

from actors.seams import Seams
from actors.seams.clock import TimerHandle
from raftstore.identity import Organizations
from raftstore.raft import snapshot
from raftstore.raft.consensus import Position, SafetyViolation
from raftstore.raft.entrance import Entrance
from raftstore.raft.folder import JOINED, Beginning
from raftstore.raft.install import SnapshotReceiver, SnapshotSender
from raftstore.raft.interface import Callback, Message, Outcome, Timing
from raftstore.raft.membership import Configuration, FolderLost, MemberRemoved, Peer
from raftstore.raft.pysync import SafeSyncObj
from raftstore.raft.readindex import ReadRounds
from raftstore.raft.roster import Change, Roster
from raftstore.raft.snapshot import CorruptSnapshot, Snapshot
from raftstore.raft.taker import SnapshotPolicy, SnapshotTaker
from raftstore.raft.transport import Events, PeerTransport
from raftstore.raft.wal import CorruptLog, Wal

WAITING_S = 10.0
_logger = logging.getLogger(__name__)


class StateMachine(Protocol):
    """What is replicated."""

    def apply(self, index: int, command: bytes) -> Any: ...

    def cut(self) -> tuple[Any, Iterable[Any]]:
        """Head and chunks of the state as of this call; iterated while the state moves on."""
        ...

    def restore(self, head: Any, chunks: Iterable[Any]) -> None: ...


REPLACE = "Nothing was changed. Next step: raykube store replace-member"
"""What heals a member whose folder is damaged or lost; its name follows."""


class RaftNode:
    """Replicates commands. `me`: what the others are told of this member; `beginning`: see there;
    `listen`: the address for the others' links."""

    def __init__(
        self,
        beginning: Beginning,
        me: Peer,
        listen: str,
        folder: str,
        machine: StateMachine,
        *,
        timing: Timing,
        policy: SnapshotPolicy,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
        allowed: Organizations,
        on_leadership: Callable[[], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._name, self._folder, self._machine = me.name, folder, machine
        self._beginning, self._listen = beginning, listen
        self._timing, self._policy = timing, policy
        self._on_leadership, self._on_fatal = on_leadership, on_fatal
        events = Events(
            message=self._received,
            connected=self._connected,
            disconnected=lambda peer: self.raft.link_down(peer),
            silenced=self._silenced,
            flushed=self.kick,
            introduced=self._introduced,
            adopted=lambda cluster, member: self._entrance.adopt(cluster, member),
            refused=self._refused,
        )
        self.transport = PeerTransport(me, events, tls, allowed)
        self._held: list[tuple[str, Message]] = []
        self._reads: list[tuple[int, int, Callable[[bool], None]]] = []
        self._read_numbers = count()
        self._senders: dict[str, SnapshotSender] = {}
        self._scheduled = False
        self._running = False
        self._timer: TimerHandle | None = None
        self._timer_due_s = float("inf")

    async def start(self, seams: Seams) -> None:
        """Recover what is on disk, then take part; one that joins waits to be told who it is.

        Raises CorruptLog, CorruptSnapshot, MemberRemoved, OSError.
        """
        self._seams = seams
        self._loop = asyncio.get_running_loop()
        self._taker = SnapshotTaker(
            seams, self._folder, self._policy, self._machine.cut, self._fail
        )
        head, _ = self._machine.cut()
        self._entrance = Entrance(seams, self._folder, self._beginning, self.transport, head)
        try:
            self._entrance.open()
            await self.transport.listen(seams, self._listen)
            self._recover((await self._entrance.wait()).key)
        except (CorruptLog, CorruptSnapshot, MemberRemoved) as error:
            await self.transport.stop()
            raise type(error)(f"{error}. {REPLACE} {self._name}") from error
        except BaseException:
            await self.transport.stop()
            raise
        self._running = True
        self._roster.turn(self.raft)
        self.kick()

    def _recover(self, key: str) -> None:
        """Raises CorruptLog, CorruptSnapshot, MemberRemoved."""
        self._receiver = SnapshotReceiver(self._seams.disk, self._folder)
        position, configuration = self._load_snapshot()
        self.wal = Wal.open(self._seams.disk, f"{self._folder}/wal", self._policy.segment_bytes)
        self._join(position)
        self._key = key
        self._roster = Roster(self.transport, key)
        self._rounds = ReadRounds(key, (), self._ask)
        self.raft = SafeSyncObj(
            key,
            configuration,
            self.wal,
            position,
            self._timing,
            self._seams.clock,
            self._seams.randomness,
            self,
        )
        self._rounds.follow(self.raft.voters)
        self.wal.sync()
        if key in configuration.removed:
            raise MemberRemoved(f"{self._name} was removed from the store")

    async def hand_over(self) -> None:
        """Before a stop: have another member lead, so that nobody waits for an election.

        Bounded by an election timeout; without a follower that answers nothing is done.
        """
        successor = self.raft.best_successor() if self._running else None
        if successor is None:
            return
        moved, ended = False, asyncio.Event()

        def done(result: bool) -> None:
            nonlocal moved
            moved = result
            ended.set()

        self.move_leader(successor, done)
        await ended.wait()
        if not moved:
            to = self.raft.configuration.name_of(successor)
            _logger.warning("%s could not hand over to %s", self._name, to)

    async def stop(self) -> None:
        if not self._running:
            await self.transport.stop()
            return
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        await self._taker.stop()
        await self.transport.stop()
        self._abandon_questions()
        self._release_reads(float("inf"), False)
        self.raft.give_up_transfer()
        self.raft.fail_waiting()
        self.wal.close()

    def _abandon_questions(self) -> None:
        self._rounds.abandon()
        self._roster.abandon()

    # ---- what the member asks for

    def propose(self, command: bytes, callback: Callback) -> None:
        self.raft.propose(command, callback)
        self._taker.log_bytes += len(command)
        self.kick()

    def read_barrier(self, done: Callable[[bool], None]) -> None:
        """`done(True)` once the state holds all that was committed when this was called.

        `done(False)`: this member does not lead (any more).
        """
        if not self.raft.is_leader:
            done(False)
            return
        self._rounds.add(lambda index: self._confirmed(index, done))
        self.kick()

    def change_members(self, change: Change, callback: Callback) -> None:
        """Change the configuration, after the changes that were asked for before.

        The callback hears the outcome, and the error if the change itself is refused. Raises
        Unavailable if too many wait.
        """
        if not self.raft.is_leader:
            callback(Outcome.REFUSED, None)
            return
        self._roster.change(change, callback)
        self.kick()

    def move_leader(self, target: str, done: Callable[[bool], None]) -> None:
        """`done(True)` once `target` leads, `done(False)` if that failed (see SafeSyncObj)."""
        self.raft.transfer_leadership(target, done)
        self.kick()

    def kick(self) -> None:
        """Have a turn soon; any number of calls make one."""
        if self._running and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    # ---- turns

    def _turn(self) -> None:
        self._scheduled = False
        if not self._running:
            return
        try:
            self._work()
        except CorruptSnapshot as error:
            self._fail(CorruptSnapshot(f"{error}. {REPLACE} {self._name}"))
        except (SafetyViolation, OSError) as error:
            self._fail(error)

    def _work(self) -> None:
        if not self.raft.is_leader:
            self._make_durable()
        self.raft.doTick(0)
        self._roster.turn(self.raft)
        self._make_durable()
        if self.raft.is_established:
            self._rounds.start(self.raft.commit_index)
        self._release_reads(self.raft.applied_index, True)
        self._taker.turn(self.raft, self.wal)
        if self._roster.is_removed:
            self._refused(MemberRemoved())
            return
        if self.raft.has_work:
            self.kick()
        self._arm_timer()

    def _make_durable(self) -> None:
        self.wal.sync()
        held, self._held = self._held, []
        for peer, message in held:
            self.transport.send(peer, message)

    def _arm_timer(self) -> None:
        """One timer; when it fires early because the deadline moved, it is just set again."""
        due_s = self.raft.due_s()
        if self._timer is not None and self._timer_due_s <= due_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due_s = due_s
        delay_s = max(0.0, due_s - self._seams.clock.now())
        self._timer = self._seams.clock.call_later(delay_s, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        if self._seams.clock.now() >= self.raft.due_s():
            self._rounds.repeat()
            self.kick()
        else:
            self._arm_timer()

    def _fail(self, error: BaseException) -> None:
        """What is on disk cannot be trusted any more: fall silent, so that nobody counts on it."""
        _logger.critical("%s stops: %s", self._name, error)
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        self._abandon_questions()
        self.raft.give_up_transfer()
        self.raft.fail_waiting()
        self._on_fatal(error)

    # ---- links

    def _received(self, peer: str, message: Message) -> None:
        if not self._running:
            return
        try:
            self.raft.receive(peer, message)
        except (SafetyViolation, OSError) as error:
            self._fail(error)

    def _connected(self, peer: str) -> None:
        self.raft.link_up(peer)
        self.kick()

    def _silenced(self, peer: str) -> None:
        if self._running:
            self.raft.peer_silenced(peer)
            self.kick()

    # ---- called by SafeSyncObj

    def post(self, peer: str, message: Message) -> bool:
        return self.transport.send(peer, message)

    def post_when_durable(self, peer: str, message: Message) -> None:
        self._held.append((peer, message))

    def apply(self, index: int, command: bytes) -> Any:
        return self._machine.apply(index, command)

    def leadership_changed(self) -> None:
        if not self.raft.is_leader:
            self._abandon_questions()
            self._close_senders()
        self._roster.introduced()
        self._on_leadership()

    def other_message(self, peer: str, message: Message) -> None:
        handlers = {
            "read": self._on_read,
            "read_reply": self._on_read_reply,
            "snapshot": self._on_snapshot,
            "snapshot_reply": self._on_snapshot_reply,
        }
        handler = handlers.get(message["type"])
        if handler is not None:
            handler(peer, message)

    # ---- reads

    def _ask(self, round_number: int) -> None:
        question = {"type": "read", "term": self.raft.term, "round": round_number}
        for peer in self.raft.voters:
            if peer != self._key:
                self.transport.send(peer, question)

    def _on_read(self, peer: str, message: Message) -> None:
        if self.raft.follow_leader(peer, message["term"]):
            reply = {"type": "read_reply", "term": message["term"], "round": message["round"]}
            self.post_when_durable(peer, reply)

    def _on_read_reply(self, peer: str, message: Message) -> None:
        if self.raft.is_leader and message["term"] == self.raft.term:
            self.raft.heard_from(peer)
            self._rounds.answered(peer, message["round"])

    def _confirmed(self, index: int | None, done: Callable[[bool], None]) -> None:
        if index is None:
            done(False)
        elif index <= self.raft.applied_index:
            done(True)
        else:
            heapq.heappush(self._reads, (index, next(self._read_numbers), done))

    def _release_reads(self, applied_index: float, succeeded: bool) -> None:
        while self._reads and self._reads[0][0] <= applied_index:
            heapq.heappop(self._reads)[2](succeeded)

    # ---- members

    def configuration_changed(self) -> None:
        self._rounds.follow(self.raft.voters)
        self._roster.changed()

    def configuration_applied(self, configuration: Configuration) -> None:
        self._roster.applied(configuration)

    def _introduced(self) -> None:
        if self._running:
            self._roster.introduced()
            self.kick()

    def _refused(self, refusal: Exception) -> None:
        """The others do not want this member any more."""
        if not self._running:
            return
        if isinstance(refusal, FolderLost):
            what = f"the folder of {self._name} is not the one that the others know"
        else:
            what = f"{self._name} was removed from the store"
        self._fail(type(refusal)(f"{what}. {REPLACE} {self._name}"))

    # ---- snapshots

    def _load_snapshot(self) -> tuple[Position, Configuration]:
        path = snapshot.newest(self._seams.disk, self._folder)
        if path is None:
            return JOINED, Configuration({}, {})
        loaded = snapshot.load(self._seams.disk, path)
        configuration = self._restore(loaded)
        return loaded.position, configuration

    def _restore(self, loaded: Snapshot) -> Configuration:
        packed, head = loaded.head
        self._machine.restore(head, loaded.chunks)
        self._taker.index = loaded.position.index
        return Configuration.unpack(packed)

    def _join(self, position: Position) -> None:
        """Make the log continue the snapshot; refuse if entries between them are missing."""
        wal = self.wal
        first = wal.first_index if wal.entries else position.index
        if first > position.index:
            raise CorruptLog(
                f"{self._folder}: the log starts at entry {first}, the snapshot ends at "
                f"{position.index}: what is between them is missing"
            )
        if not wal.holds(position.index, position.term):
            wal.reset(position.index, position.term)

    def send_snapshot(self, peer: str) -> None:
        sender = self._senders.get(peer)
        if sender is None:
            path = snapshot.newest(self._seams.disk, self._folder)
            if path is None:
                raise SafetyViolation("the log was shortened without a snapshot")
            position = snapshot.position(self._seams.disk, path)
            sender = SnapshotSender(self._seams.disk, path, position, self._policy.chunk_bytes)
            self._senders[peer] = sender
        if self.transport.has_room(peer):
            message = sender.next_message(self.raft.term, self._seams.clock.now())
            if message is not None:
                self.transport.send(peer, message)

    def _on_snapshot(self, peer: str, message: Message) -> None:
        if not self.raft.follow_leader(peer, message["term"]):
            self._reply_snapshot(peer, message, installed=False)
            return
        if message["position"][1] <= self.raft.commit_index:
            self._reply_snapshot(peer, message, installed=True)
            return
        try:
            received = self._receiver.add(message)
        except CorruptSnapshot as error:
            _logger.warning("%s: %s", self._name, error)
            received = None
        if received is not None:
            self.raft.installed(received.position, self._restore(received))
        self._reply_snapshot(peer, message, installed=received is not None)

    def _reply_snapshot(self, peer: str, message: Message, installed: bool) -> None:
        reply = {
            "type": "snapshot_reply",
            "term": self.raft.term,
            "index": message["position"][1],
            "received": self._receiver.received_bytes,
            "installed": installed,
        }
        self.post_when_durable(peer, reply)

    def _on_snapshot_reply(self, peer: str, message: Message) -> None:
        self.raft.observe_term(message["term"])
        sender = self._senders.get(peer)
        if not self.raft.is_leader or message["term"] != self.raft.term or sender is None:
            return
        self.raft.heard_from(peer)
        if sender.position.index != message["index"]:
            return
        sender.answered(message["received"])
        if message["installed"]:
            self._senders.pop(peer).close()
            progress = self.raft.progress.get(peer)
            if progress is not None:
                progress.accepted(message["index"])

    def _close_senders(self) -> None:
        for sender in self._senders.values():
            sender.close()
        self._senders = {}
