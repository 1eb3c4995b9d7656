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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from actors.seams import Seams
from actors.seams.clock import TimerHandle
from raftstore.identity import Organizations
from raftstore.raft import snapshot
from raftstore.raft.consensus import Position, SafetyViolation
from raftstore.raft.install import SnapshotReceiver, SnapshotSender
from raftstore.raft.interface import Callback, Message, Timing
from raftstore.raft.membership import Configuration, MemberRemoved
from raftstore.raft.pysync import SafeSyncObj
from raftstore.raft.readindex import ReadRounds
from raftstore.raft.snapshot import CorruptSnapshot, Snapshot, SnapshotWriter
from raftstore.raft.transport import Events, PeerTransport
from raftstore.raft.wal import SEGMENT_BYTES, CorruptLog, Wal, explain

_logger = logging.getLogger(__name__)


class StateMachine(Protocol):
    """What is replicated."""

    def apply(self, index: int, command: bytes) -> Any: ...

    def cut(self) -> tuple[Any, Iterable[Any]]:
        """Head and chunks of the state as of this call; iterated while the state moves on."""
        ...

    def restore(self, head: Any, chunks: Iterable[Any]) -> None: ...


@dataclass(frozen=True)
class SnapshotPolicy:
    """A snapshot every `entries`, once the log since the last one outweighs half of it."""

    entries: int = 10_000
    keep_entries: int = 5_000
    """Kept in the log behind a snapshot, for followers that lag a little."""
    segment_bytes: int = SEGMENT_BYTES
    """Of one file of the log."""


class RaftNode:
    """Replicates commands over the members of `peers` (name -> address, itself included)."""

    def __init__(
        self,
        name: str,
        peers: Mapping[str, str],
        folder: str,
        machine: StateMachine,
        *,
        timing: Timing,
        policy: SnapshotPolicy,
        client_address: str,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
        allowed: Organizations,
        on_leadership: Callable[[], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._name, self._folder, self._machine = name, folder, machine
        self._timing, self._policy = timing, policy
        self._on_leadership, self._on_fatal = on_leadership, on_fatal
        events = Events(
            message=self._received,
            connected=self._connected,
            disconnected=lambda peer: self.raft.link_down(peer),
            silenced=self._silenced,
            flushed=self.kick,
        )
        self.transport = PeerTransport(name, peers, client_address, events, tls, allowed)
        self._peers = dict(peers)
        self._held: list[tuple[str, Message]] = []
        self._rounds = ReadRounds(name, peers, self._ask)
        self._reads: list[tuple[int, int, Callable[[bool], None]]] = []
        self._read_numbers = count()
        self._senders: dict[str, SnapshotSender] = {}
        self._scheduled = False
        self._running = False
        self._removed = False
        self._timer: TimerHandle | None = None
        self._timer_due_s = float("inf")
        self._snapshot_task: asyncio.Task[None] | None = None
        self._snapshot_index = 0
        self._log_bytes = 0
        self._snapshot_bytes = 0

    async def start(self, seams: Seams) -> None:
        """Recover what is on disk, then take part. Raises CorruptLog, CorruptSnapshot, OSError."""
        self._seams = seams
        self._loop = asyncio.get_running_loop()
        seams.disk.make_folder(self._folder)
        self._receiver = SnapshotReceiver(seams.disk, self._folder)
        position, configuration = self._load_snapshot()
        self.wal = Wal.open(seams.disk, f"{self._folder}/wal", self._policy.segment_bytes)
        self._join(position)
        self.raft = SafeSyncObj(
            self._name,
            configuration,
            self.wal,
            position,
            self._timing,
            seams.clock,
            seams.randomness,
            self,
        )
        self.wal.sync()
        self._running = True
        await self.transport.start(seams)
        self.kick()

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
            _logger.warning("%s could not hand over to %s", self._name, successor)

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._snapshot_task is not None:
            self._snapshot_task.cancel()
            await asyncio.gather(self._snapshot_task, return_exceptions=True)
        await self.transport.stop()
        self._rounds.abandon()
        self._release_reads(float("inf"), False)
        self.raft.give_up_transfer()
        self.raft.fail_waiting()
        self.wal.close()

    # ---- what the member asks for

    def propose(self, command: bytes, callback: Callback) -> None:
        self.raft.propose(command, callback)
        self._log_bytes += len(command)
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
        except (SafetyViolation, OSError, CorruptSnapshot) as error:
            self._fail(error)

    def _work(self) -> None:
        if not self.raft.is_leader:
            self._make_durable()
        self.raft.doTick(0)
        self._make_durable()
        if self.raft.is_established:
            self._rounds.start(self.raft.commit_index)
        self._release_reads(self.raft.applied_index, True)
        self._maybe_snapshot()
        if self._removed:
            self._fail(MemberRemoved(f"{self._name} was removed from the store"))
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
        self._rounds.abandon()
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
            self._rounds.abandon()
            self._close_senders()
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
            if peer != self._name:
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

    # ---- snapshots

    def configuration_changed(self) -> None:
        self._rounds.voters = self.raft.voters

    def configuration_applied(self, configuration: Configuration) -> None:
        """A member that was removed stops once it has told the others what it knows."""
        self._removed = self._name not in configuration.members

    def _load_snapshot(self) -> tuple[Position, Configuration]:
        path = snapshot.newest(self._seams.disk, self._folder)
        if path is None:
            return Position(0, 0), Configuration.of(self._peers)
        loaded = snapshot.load(self._seams.disk, path)
        configuration = self._restore(loaded)
        return loaded.position, configuration

    def _restore(self, loaded: Snapshot) -> Configuration:
        packed, head = loaded.head
        self._machine.restore(head, loaded.chunks)
        self._snapshot_index = loaded.position.index
        return Configuration.unpack(packed)

    def _join(self, position: Position) -> None:
        """Make the log continue the snapshot; refuse if entries between them are missing."""
        wal = self.wal
        first = wal.first_index if wal.entries else position.index
        if first > max(position.index, 1):
            raise CorruptLog(
                f"{self._folder}: the log starts at entry {first}, the snapshot ends at "
                f"{position.index}. Restore this member's folder, or empty it to copy from others."
            )
        if position.index and not wal.holds(position.index, position.term):
            wal.reset(position.index, position.term)

    def _maybe_snapshot(self) -> None:
        applied = self.raft.applied_index
        enough = applied - self._snapshot_index >= self._policy.entries
        if enough and self._snapshot_task is None and self._log_bytes * 2 >= self._snapshot_bytes:
            self._snapshot_index = applied
            self._log_bytes = 0
            self._snapshot_task = asyncio.create_task(self._take_snapshot())
            self._snapshot_task.add_done_callback(self._snapshot_done)

    async def _take_snapshot(self) -> None:
        applied = self.raft.applied_index
        position = Position(self.wal.term_at(applied), applied)
        head, chunks = self._machine.cut()
        configuration = self.raft.configuration_at(applied).pack()
        head = [configuration, head]
        writer = SnapshotWriter(self._seams.disk, self._folder, position, head)
        try:
            for chunk in chunks:
                writer.add(chunk)
                writer.sync()
                await self._seams.clock.sleep(0)
        except BaseException:
            writer.abandon()
            raise
        if self._superseded(position):
            writer.abandon()
            return
        writer.finish()
        self._snapshot_bytes = writer.size_bytes
        self.wal.forget_before(position.index - self._policy.keep_entries)

    def _superseded(self, position: Position) -> bool:
        """A newer one was installed meanwhile."""
        newest = snapshot.newest_index(self._seams.disk, self._folder)
        return newest >= position.index

    def _snapshot_done(self, task: asyncio.Task[None]) -> None:
        self._snapshot_task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(explain(error, self._folder) if isinstance(error, OSError) else error)

    def send_snapshot(self, peer: str) -> None:
        sender = self._senders.get(peer)
        if sender is None:
            path = snapshot.newest(self._seams.disk, self._folder)
            if path is None:
                raise SafetyViolation("the log was shortened without a snapshot")
            position = snapshot.position(self._seams.disk, path)
            sender = self._senders[peer] = SnapshotSender(self._seams.disk, path, position)
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
            self.raft.progress[peer].accepted(message["index"])

    def _close_senders(self) -> None:
        for sender in self._senders.values():
            sender.close()
        self._senders = {}
