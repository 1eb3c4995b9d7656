"""`Member`: one member of the store as a component."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from actors import tls
from actors.component import Config, Health
from actors.seams import Seams
from actors.seams.clock import TimerHandle
from actors.seams.network import Listener
from raftstore import wire
from raftstore.batcher import Batcher
from raftstore.compaction import CompactionPolicy, Compactions
from raftstore.errors import InvalidRequest, NoSpace, NotLeader, StoreError, Unavailable
from raftstore.identity import Organizations, own_organizations
from raftstore.lease import Lessor
from raftstore.members import MemberOperations
from raftstore.mvcc import requests
from raftstore.mvcc.hashing import hashing
from raftstore.mvcc.machine import NO_CLIENT, Request
from raftstore.mvcc.requests import grows
from raftstore.pacing import Pace
from raftstore.raft.folder import Beginning
from raftstore.raft.interface import Timing
from raftstore.raft.membership import Peer
from raftstore.raft.node import RaftNode
from raftstore.raft.taker import SnapshotPolicy
from raftstore.raft.transport import split_address
from raftstore.service import Answer, Connection
from raftstore.state import ReplicatedState
from raftstore.types import Alarm, MemberStatus
from raftstore.watch import WatchHub
from raftstore.wire import Kind

DEFAULT_QUOTA_BYTES = 2 << 30
WATCH_PROGRESS_S = 5.0
_logger = logging.getLogger(__name__)


class Member:
    """Replicates, serves clients, expires leases. Config: `docs/contracts.md`, and optionally
    `snapshot_entries`, `keep_entries`, `segment_bytes`, `chunk_bytes`, `quota_bytes`,
    `watch_progress_s` and `compaction`."""

    def __init__(self) -> None:
        self._connections: dict[Connection, None] = {}  # in order: turns are repeatable
        self._state = ReplicatedState()
        self._node: RaftNode | None = None
        self._listener: Listener | None = None
        self._address: str | None = None
        self._failure: BaseException | None = None
        self._progress_timer: TimerHandle | None = None
        self._compact_timer: TimerHandle | None = None

    # ---- component

    @property
    def address(self) -> str | None:
        return self._address

    @property
    def failure(self) -> BaseException | None:
        """Why it failed."""
        return self._failure

    @property
    def failed(self) -> bool:
        """Disk or consensus failed for good: only a restart may help."""
        return self._failure is not None

    @property
    def hub(self) -> WatchHub:
        return self._state.hub

    async def start(self, seams: Seams, config: Config) -> None:
        """Recover, join the others, serve.

        Raises CorruptLog, CorruptSnapshot, MemberRemoved, OSError.
        """
        self._seams, self._name = seams, config["name"]
        self._quota_bytes = config.get("quota_bytes", 0) or DEFAULT_QUOTA_BYTES
        self._watch_progress_s = config.get("watch_progress_s", WATCH_PROGRESS_S)
        server_tls, client_tls = _contexts(config.get("tls"))
        allowed = own_organizations(config.get("tls"))
        node = self._node = self._make_node(config, server_tls, client_tls, allowed)
        self._batcher = Batcher(node.propose, self._leader_address)
        self._lessor = Lessor(seams.clock, lambda: self._state.machine.leases, self._revoke)
        self._state.machine.on_lease = self._lessor.changed
        await node.start(seams)
        self._members = MemberOperations(node)
        self._alarm = Alarm(self._members.own_id, "nospace")
        host, port = split_address(config["client_address"])
        self._listener = await seams.network.listen(
            host, port, lambda: Connection(self, self._connections, allowed), tls=server_tls
        )
        self._address = config["client_address"]
        self._report_progress()
        self._policy = CompactionPolicy.of(config.get("compaction"))
        self._compactions = Compactions(self._policy)
        if self._policy.mode != "off":
            self._compact()

    def _make_node(
        self,
        config: Config,
        server: ssl.SSLContext | None,
        client: ssl.SSLContext | None,
        allowed: Organizations,
    ) -> RaftNode:
        shortest_s, longest_s = config.get("election_timeout_s", (0.8, 1.6))
        defaults = SnapshotPolicy()
        return RaftNode(
            _beginning(config),
            _peer(config),
            _peer_address(config),
            config["data_dir"],
            self._state,
            timing=Timing((shortest_s, longest_s), config.get("heartbeat_s", 0.1)),
            policy=SnapshotPolicy(
                config.get("snapshot_entries", defaults.entries),
                config.get("keep_entries", defaults.keep_entries),
                config.get("segment_bytes", defaults.segment_bytes),
                config.get("chunk_bytes", defaults.chunk_bytes),
            ),
            tls=(server, client) if server is not None and client is not None else None,
            allowed=allowed,
            on_leadership=self._leadership_changed,
            on_fatal=self._failed,
        )

    async def stop(self) -> None:
        for timer in (self._progress_timer, self._compact_timer):
            if timer is not None:
                timer.cancel()
        if self._node is not None:
            await self._node.hand_over()
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        if self._node is not None:
            self._lessor.stop()
            await self._node.stop()
        for connection in list(self._connections):
            connection.abort()

    async def health(self) -> Health:
        """Ready: a leader is known and all that it has committed, as far as heard, is applied."""
        if self._failure is not None:
            return Health(False, f"stopped: {self._failure}", failed=True)
        if self._node is None or self._address is None:
            return Health(False, "starting")
        status, raft = self._status(), self._node.raft
        facts = status._asdict()
        if not status.leader:
            return Health(False, "no leader is known", facts)
        caught_up = raft.is_established or (
            not raft.is_leader and raft.applied_index >= raft.known_commit_index > 0
        )
        return Health(caught_up, f"leader is {status.leader}" if caught_up else "behind", facts)

    # ---- requests of clients

    def write(self, request: Request, answer: Answer) -> None:
        """Check, then replicate. Raises StoreError for what need not be replicated."""
        raft = self._raft()
        if not raft.is_leader:
            raise NotLeader(self._leader_address())
        operation = wire.unpack(request.operation)
        requests.check(operation)
        self._check_quota(operation)
        self._batcher.add(request, answer)

    def read(self, operation: Any, serializable: bool, pace: Pace, answer: Answer) -> None:
        """Answer a question about the state: linearizable, or as it is here.

        If the client has to be waited for, the answer is of a later state, but one that was the
        newest at some time since the question.
        """
        question = wire.unpack(operation)
        requests.check_question(question)

        def confirmed(leads: bool) -> None:
            if leads:
                pace.run(lambda: answer(self._read_now(question)))
            else:
                answer(wire.failure(NotLeader(self._leader_address())))

        if serializable:
            confirmed(True)
            return
        self._raft()
        assert self._node is not None
        self._node.read_barrier(confirmed)

    def keep_alive(self, lease_id: int, answer: Answer) -> None:
        self._when_confirmed(lambda: wire.success(self._lessor.keep_alive(lease_id)), answer)

    def time_to_live(self, lease_id: int, answer: Answer) -> None:
        self._when_confirmed(lambda: wire.success(self._lessor.time_to_live(lease_id)), answer)

    def ping(self) -> Sequence[str]:
        if not self._raft().is_leader:
            raise NotLeader(self._leader_address())
        return self._members.client_addresses

    def member_list(self, linearizable: bool, answer: Answer) -> None:
        self._raft()
        if linearizable:
            self._when_confirmed(lambda: wire.success(self._members.list()), answer)
        else:
            answer(wire.success(self._members.list()))

    def change_members(self, action: str, arguments: Sequence[Any], answer: Answer) -> None:
        """See `MemberOperations`. Raises NotLeader, InvalidRequest, Unavailable."""
        self.ping()
        self._members.change(action, arguments, answer)

    def move_leader(self, target_id: int, answer: Answer) -> None:
        """Raises NotLeader, MemberNotFound."""
        self.ping()
        self._members.move_leader(target_id, answer)

    def status(self) -> Any:
        self._raft()
        return self._status()

    def hash_kv(self, revision: int, answer: Answer) -> None:
        """Of this member's own state, in slices, so that it goes on meanwhile."""
        steps = hashing(self._state.machine.store, revision)

        def step() -> None:
            try:
                next(steps)
            except StopIteration as done:
                answer(wire.success(done.value))
            else:
                self._seams.clock.call_later(0.0, step)

        self._raft()
        step()

    def export(self) -> Iterator[Any]:
        self._raft()
        head, chunks = self._state.cut()
        return chain((head,), chunks)

    def _read_now(self, question: Any) -> bytes:
        try:
            return wire.success(self._state.machine.query(question))
        except StoreError as error:
            return wire.failure(error)
        except (TypeError, ValueError) as error:  # it must not touch replication
            _logger.exception("a question that was found in order cannot be answered")
            return wire.failure(InvalidRequest(f"malformed question: {error}"))

    def _when_confirmed(self, work: Any, answer: Answer) -> None:
        """Answer with `work()` once this member is known to lead and to be up to date."""

        def done(leads: bool) -> None:
            try:
                answer(work() if leads else wire.failure(NotLeader(self._leader_address())))
            except StoreError as error:
                answer(wire.failure(error))

        self._raft()
        assert self._node is not None
        self._node.read_barrier(done)

    def _check_quota(self, operation: Any) -> None:
        """Raises NoSpace, and the alarm that makes every member refuse what grows the store."""
        if self._state.machine.store.size_bytes <= self._quota_bytes or not grows(operation):
            return
        if self._alarm not in self._state.machine.alarms.all():
            self._propose([Kind.ALARM, "raise", *self._alarm])
        raise NoSpace(f"the store holds more than its quota of {self._quota_bytes} bytes")

    def _raft(self) -> Any:
        if self._node is None or self._failure is not None:
            raise Unavailable(f"member {self._name} does not run")
        return self._node.raft

    # ---- what happens by itself

    def _leadership_changed(self) -> None:
        assert self._node is not None
        if self._node.raft.is_leader:
            self._node.read_barrier(self._established)
        else:
            self._lessor.stop()

    def _established(self, leads: bool) -> None:
        """All that was committed before is applied: leases can be counted from now on."""
        if leads:
            self._lessor.lead()

    def _revoke(self, lease_id: int) -> None:
        try:
            self._propose([Kind.LEASE_REVOKE, lease_id])
        except Unavailable:
            _logger.warning("revocation of lease %d has to wait: too many writes", lease_id)

    def _propose(self, operation: Any) -> None:
        """A change of this member's own. Raises Unavailable."""
        request = Request(NO_CLIENT, 0, 0, wire.pack(operation))
        self._batcher.add(request, lambda answer: None)

    def _compact(self) -> None:
        """Every member keeps count of revisions, so that a new leader knows their age."""
        store = self._state.machine.store
        now_s = self._seams.clock.now()
        revision = self._compactions.due(now_s, store.revision, store.compacted_revision)
        if revision and self._node is not None and self._node.raft.is_leader:
            self._propose([Kind.COMPACT, revision])
        self._compact_timer = self._seams.clock.call_later(self._policy.interval_s, self._compact)

    def _report_progress(self) -> None:
        lost = self._node is None or self._node.raft.leader is None
        for connection in list(self._connections):
            if lost:
                connection.end_watches(Unavailable("this member knows no leader"))
            else:
                connection.report_progress()
        self._progress_timer = self._seams.clock.call_later(
            self._watch_progress_s, self._report_progress
        )

    def _failed(self, error: BaseException) -> None:
        self._failure = error
        self._lessor.stop()
        for connection in list(self._connections):
            connection.abort()

    # ---- facts

    def _leader_address(self) -> str:
        return self._members.leader_address

    def _status(self) -> MemberStatus:
        assert self._node is not None
        raft, store = self._node.raft, self._state.machine.store
        return MemberStatus(
            self._name,
            self._address or "",
            self._members.leader_name,
            raft.term,
            store.revision,
            raft.commit_index,
            raft.applied_index,
            store.size_bytes,
            self._failure is None,
            self._members.own_id,
            self._members.leader_id,
        )


def _peer_address(config: Config) -> str:
    found: str = config.get("peer_address") or config["peers"][config["name"]]
    return found


def _peer(config: Config) -> Peer:
    """What the others are told of this member."""
    urls, client_address = config.get("client_urls", ()), config["client_address"]
    return Peer((_peer_address(config),), config["name"], (client_address,), tuple(urls))


def _beginning(config: Config) -> Beginning:
    assigned = config.get("identity")
    return Beginning(
        config["name"],
        {name: (address,) for name, address in config.get("peers", {}).items()},
        config.get("cluster_token", ""),
        config.get("state", "new") == "existing",
        (int(assigned["cluster"], 16), int(assigned["member"], 16)) if assigned else None,
    )


def _contexts(files: Mapping[str, str] | None) -> tuple[Any, Any]:
    return (tls.server_context(files), tls.client_context(files)) if files else (None, None)
