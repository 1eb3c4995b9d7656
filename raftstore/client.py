"""`StoreClient`: the store over the network. Follows the leader; safe to retry by construction.

Reads are simply repeated. Writes are numbered in a session, so that one repeated after a lost
connection is executed once (see `mvcc.sessions`). What stays unknown when time is up is told as
`UnknownOutcome`, and only what surely did not happen as `Unavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from actors import tls as tls_files
from actors.seams import Seams
from raftstore import identity, wire
from raftstore.calls import StoreCalls
from raftstore.connection import ConnectionLost, Connector, ServerConnection, bounded
from raftstore.endpoint import MemberClient
from raftstore.errors import (
    MemberNotFound,
    MemberNotLearner,
    NotLeader,
    SessionExpired,
    StoreError,
    Unavailable,
    UnknownOutcome,
)
from raftstore.mvcc import txn
from raftstore.types import (
    AddedMember,
    EventType,
    Lease,
    Members,
    MemberStatus,
    Op,
    Range,
    Store,
    Txn,
    WatchBatch,
)
from raftstore.wire import Kind

MAX_IN_FLIGHT = 1024
STATUS_TIMEOUT_S = 2.0
RETRY_S = 0.02
__all__ = ["Store", "StoreClient"]


class _Session:
    """Numbers of the writes of one session; `floor` is the lowest that is still open."""

    def __init__(self, client: int) -> None:
        self.client = client
        self._next = 0
        self._open: dict[int, None] = {}

    def begin(self) -> int:
        self._next += 1
        self._open[self._next] = None
        return self._next

    def end(self, sequence: int) -> None:
        del self._open[sequence]

    @property
    def floor(self) -> int:
        return next(iter(self._open), self._next + 1)


class StoreClient(StoreCalls):
    """`endpoints`: client addresses of the members; `timeout_s` bounds every call but `watch`."""

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._endpoints = list(endpoints)
        self._timeout_s = timeout_s
        self._tls = tls_files.client_context(tls) if tls else None
        self._session: _Session | None = None
        self._opening = asyncio.Lock()
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._connector: Connector | None = None

    async def start(self, seams: Seams) -> None:
        """Connects in the background: returns at once, whether or not a member is up."""
        self._seams = seams
        self._connector = Connector(seams, self._endpoints, self._tls)
        self._connector.start()

    async def stop(self) -> None:
        if self._connector is None:
            return
        connection = self._connector.current
        if self._session is not None and connection is not None:
            close = [self._session.client, 0, 0, wire.pack([Kind.SESSION_CLOSE])]
            connection.post("write", close)
            connection.flush()
        await self._connector.stop()
        self._connector = None

    # ---- operations

    async def execute(self, op: Op, *, serializable: bool = False) -> Any:
        if isinstance(op, Range) or (isinstance(op, Txn) and txn.is_read_only(op)):
            answer = await self.query(wire.encode_op(op), serializable=serializable)
        else:
            answer = await self.command(wire.encode_op(op))
        return wire.decode_result(op, answer)

    async def query(self, operation: Sequence[Any], *, serializable: bool = False) -> Any:
        return await self._repeat("read", [wire.pack(operation), serializable])

    # ---- watches

    async def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Sequence[EventType] = (),
    ) -> AsyncGenerator[WatchBatch, None]:
        next_revision = start_revision
        while True:
            connection = await self._connection(None)
            arguments = (key, range_end, next_revision, prev_kv, list(filters))
            try:
                async with aclosing(connection.stream("watch", arguments)) as batches:
                    async for packed in batches:
                        batch = wire.decode_batch(packed)
                        next_revision = max(next_revision, batch.revision + 1)
                        yield batch
            except (ConnectionLost, Unavailable):
                await self._seams.clock.sleep(RETRY_S)

    async def request_progress(self) -> None:
        """Have every watch that misses nothing yield an empty batch that tells how far it is."""
        await self._repeat("progress", [])

    # ---- leases

    async def lease_keep_alive(self, lease_id: int) -> Lease:
        """Raises LeaseNotFound if it has expired."""
        return wire.decode_lease(await self._repeat("keep_alive", [lease_id]))

    async def lease_time_to_live(self, lease_id: int) -> Lease:
        return wire.decode_lease(await self._repeat("ttl", [lease_id]))

    # ---- members

    async def status(self) -> list[MemberStatus]:
        """Of every endpoint; one that does not answer has `healthy` false and no name."""
        return list(await asyncio.gather(*map(self._status_of, self._endpoints)))

    async def member_list(self, linearizable: bool = True) -> Members:
        """The members that count now; without `linearizable` as the member asked knows them."""
        found = wire.decode_members(await self._repeat("member_list", [linearizable]))
        if self._connector is not None:
            self._connector.learn([a for m in found.members for a in m.client_addresses])
        return found

    async def member_add(self, peer_addresses: Sequence[str], learner: bool = False) -> AddedMember:
        """A member that has not started yet: it starts in state `existing` at these addresses.

        Raises PeerAddressExists, BadPeerAddress, TooManyLearners, NotEnoughStarted,
        UnhealthyCluster, and like all changes of the members Unavailable, UnknownOutcome.
        """
        nonce = self._seams.randomness.getrandbits(62)
        members = await self._change_members("add", list(peer_addresses), learner, nonce)
        added = identity.joiner_id(peer_addresses, members.cluster_id, nonce)
        return AddedMember(next(m for m in members.members if m.id == added), members)

    async def member_remove(self, member_id: int) -> Members:
        """It stops; its folder is of no use any more.

        Raises MemberNotFound, NotEnoughStarted, UnhealthyCluster.
        """
        return await self._change_members("remove", member_id, repeated=MemberNotFound)

    async def member_promote(self, member_id: int) -> Members:
        """Have a learner vote. Raises MemberNotFound, MemberNotLearner, LearnerNotReady."""
        return await self._change_members("promote", member_id, repeated=MemberNotLearner)

    async def member_update(self, member_id: int, peer_addresses: Sequence[str]) -> Members:
        """Where the others reach it. Raises MemberNotFound, PeerAddressExists, BadPeerAddress."""
        return await self._change_members("update", member_id, list(peer_addresses))

    async def _change_members(
        self, action: str, *arguments: Any, repeated: type[StoreError] | None = None
    ) -> Members:
        """`repeated`: what a change that was made before, maybe by us, is refused with."""
        attempts = 0

        def attempt() -> Sequence[Any]:
            nonlocal attempts
            attempts += 1
            return [action, *arguments]

        try:
            return wire.decode_members(await self._until_answered("change_members", attempt))
        except StoreError as error:
            if repeated is None or attempts == 1 or not isinstance(error, repeated):
                raise
            return await self.member_list()

    async def move_leader(self, target_id: int) -> None:
        """Have another member lead; writes pause meanwhile. Raises MemberNotFound, Unavailable."""
        await self._repeat("move_leader", [target_id])

    async def _status_of(self, endpoint: str) -> MemberStatus:
        async with self.member(endpoint) as member:
            try:
                return await member.status()
            except Unavailable:
                return MemberStatus("", endpoint, "", 0, 0, 0, 0, 0, False)

    def member(self, endpoint: str, timeout_s: float = STATUS_TIMEOUT_S) -> MemberClient:
        """A client of one member; to be closed by who asked for it."""
        return MemberClient(self._seams, endpoint, self._tls, timeout_s)

    # ---- one request

    async def _repeat(self, method: str, arguments: Sequence[Any]) -> Any:
        """A request that may be executed any number of times."""
        try:
            return await self._until_answered(method, lambda: arguments)
        except UnknownOutcome as error:
            raise Unavailable("no answer in time") from error

    async def command(self, operation: Sequence[Any]) -> Any:
        """Execute exactly once, or raise."""
        packed = wire.pack(operation)
        async with self._in_flight:
            while True:
                session = self._session or await self._open_session()
                try:
                    return await self._write_in(session, packed)
                except SessionExpired:
                    if self._session is session:
                        self._session = None

    async def _write_in(self, session: _Session, packed: bytes) -> Any:
        """Raises SessionExpired if the write was surely not executed, and may be in another."""
        sequence = session.begin()
        try:
            return await self._until_answered(
                "write", lambda: (session.client, sequence, session.floor, packed)
            )
        finally:
            session.end(sequence)

    async def _open_session(self) -> _Session:
        async with self._opening:
            if self._session is None:
                client = self._seams.randomness.getrandbits(62) + 1
                arguments = [client, 0, 0, wire.pack([Kind.SESSION_OPEN])]
                await self._repeat("write", arguments)
                self._session = _Session(client)
            return self._session

    async def _until_answered(self, method: str, arguments: Callable[[], Sequence[Any]]) -> Any:
        """Repeat over connections until answered. Raises UnknownOutcome if it was ever sent."""
        deadline_s = self._seams.clock.now() + self._timeout_s
        maybe_applied = False
        while True:
            try:
                connection = await self._connection(deadline_s)
                return await connection.request(method, arguments(), deadline_s)
            except NotLeader as error:
                self._redirect(connection, error.address)
            except UnknownOutcome:
                maybe_applied = True
            except ConnectionLost as error:
                maybe_applied = maybe_applied or error.sent
            except TimeoutError:
                raise UnknownOutcome("no answer in time") from None
            except SessionExpired:
                if maybe_applied:
                    raise UnknownOutcome("the session expired while it was repeated") from None
                raise
            except Unavailable:
                if maybe_applied:
                    raise UnknownOutcome("no answer in time") from None
                if self._seams.clock.now() >= deadline_s:
                    raise
            await self._seams.clock.sleep(RETRY_S)

    async def _connection(self, deadline_s: float | None) -> ServerConnection:
        """The connection to the leader, as far as known. Raises Unavailable at the deadline."""
        assert self._connector is not None, "the client is not started"
        connection = self._connector.current
        if connection is not None:
            return connection
        try:
            connected = self._connector.connected()
            found: ServerConnection = await bounded(self._seams, connected, deadline_s)
        except TimeoutError:
            raise Unavailable("no member leads or can be reached") from None
        return found

    def _redirect(self, connection: ServerConnection, address: str) -> None:
        if self._connector is not None:
            self._connector.leave(connection, address)
