"""`StoreClient`: the store over the network. Follows the leader; safe to retry by construction.

Reads are simply repeated. Writes are numbered in a session, so that one repeated after a lost
connection is executed once (see `mvcc.sessions`). What stays unknown when time is up is told as
`UnknownOutcome`, and only what surely did not happen as `Unavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from actors import tls as tls_files
from actors.seams import Seams
from raftstore import wire
from raftstore.connection import ConnectionLost, Connector, ServerConnection
from raftstore.errors import (
    NotLeader,
    SessionExpired,
    Unavailable,
    UnknownOutcome,
)
from raftstore.mvcc import txn
from raftstore.types import (
    Compare,
    Delete,
    DeleteResult,
    Lease,
    MemberStatus,
    Op,
    Put,
    PutResult,
    Range,
    RangeResult,
    Store,
    Txn,
    TxnResult,
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


class StoreClient:
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
        await self._connector.stop()
        self._connector = None

    # ---- keys

    async def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        serializable: bool = False,
    ) -> RangeResult:
        request = Range(key, range_end, revision, limit, keys_only, count_only)
        result: RangeResult = await self._read(request, serializable)
        return result

    async def put(
        self, key: bytes, value: bytes, *, lease: int = 0, prev_kv: bool = False
    ) -> PutResult:
        result: PutResult = await self._write_op(Put(key, value, lease, prev_kv))
        return result

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult:
        result: DeleteResult = await self._write_op(Delete(key, range_end, prev_kv))
        return result

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        request = Txn(compare, success, failure)
        read_only = txn.is_read_only(request)
        result: TxnResult = await (
            self._read(request, False) if read_only else self._write_op(request)
        )
        return result

    async def compact(self, revision: int) -> None:
        await self._write([Kind.COMPACT, revision])

    # ---- watches

    async def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
    ) -> AsyncIterator[WatchBatch]:
        next_revision = start_revision
        while True:
            connection = await self._connection(None)
            arguments = (key, range_end, next_revision, prev_kv)
            try:
                async with aclosing(connection.stream("watch", arguments)) as batches:
                    async for packed in batches:
                        batch = wire.decode_batch(packed)
                        next_revision = max(next_revision, batch.revision + 1)
                        yield batch
            except (ConnectionLost, Unavailable):
                await self._seams.clock.sleep(RETRY_S)

    # ---- leases

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        granted, ttl_s = await self._write([Kind.LEASE_GRANT, ttl_s, lease_id])
        return Lease(granted, ttl_s, ttl_s)

    async def lease_revoke(self, lease_id: int) -> None:
        await self._write([Kind.LEASE_REVOKE, lease_id])

    async def lease_keep_alive(self, lease_id: int) -> Lease:
        """Raises LeaseNotFound if it has expired."""
        return _lease(await self._repeat("keep_alive", [lease_id]))

    async def lease_time_to_live(self, lease_id: int) -> Lease:
        return _lease(await self._repeat("ttl", [lease_id]))

    # ---- members

    async def status(self) -> list[MemberStatus]:
        """Of every endpoint; one that does not answer has `healthy` false and no name."""
        return list(await asyncio.gather(*map(self._status_of, self._endpoints)))

    async def _status_of(self, endpoint: str) -> MemberStatus:
        assert self._connector is not None
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):
                connection = await self._connector.dial(endpoint)
                try:
                    return MemberStatus(*await connection.request("status", []))
                finally:
                    connection.abort()
        except (OSError, TimeoutError, ConnectionLost, Unavailable):
            return MemberStatus("", endpoint, "", 0, 0, 0, 0, 0, False)

    # ---- one request

    async def _read(self, request: Range | Txn, serializable: bool) -> Any:
        arguments = [wire.pack(wire.encode_op(request)), serializable]
        return wire.decode_result(request, await self._repeat("read", arguments))

    async def _repeat(self, method: str, arguments: Sequence[Any]) -> Any:
        """A request that may be executed any number of times."""

        async def once(connection: ServerConnection) -> Any:
            return await connection.request(method, arguments)

        try:
            return await self._until_answered(once)
        except UnknownOutcome as error:
            raise Unavailable("no answer in time") from error

    async def _write_op(self, op: Op) -> Any:
        return wire.decode_result(op, await self._write(wire.encode_op(op)))

    async def _write(self, operation: Sequence[Any]) -> Any:
        """Execute exactly once, or raise."""
        packed = wire.pack(operation)
        async with self._in_flight:
            while True:
                session = await self._open_session()
                sequence = session.begin()
                try:
                    return await self._write_in(session, sequence, packed)
                except _Restart:
                    if self._session is session:
                        self._session = None
                finally:
                    session.end(sequence)

    async def _write_in(self, session: _Session, sequence: int, packed: bytes) -> Any:
        attempts = 0

        async def once(connection: ServerConnection) -> Any:
            nonlocal attempts
            attempts += 1
            arguments = [session.client, sequence, session.floor, packed]
            return await connection.request("write", arguments)

        try:
            return await self._until_answered(once)
        except SessionExpired as error:
            if attempts == 1:
                raise _Restart from error
            raise UnknownOutcome("the session expired while a write was repeated") from error

    async def _open_session(self) -> _Session:
        async with self._opening:
            if self._session is None:
                client = self._seams.randomness.getrandbits(62) + 1
                arguments = [client, 0, 0, wire.pack([Kind.SESSION_OPEN])]
                await self._repeat("write", arguments)
                self._session = _Session(client)
            return self._session

    async def _until_answered(self, once: Callable[[ServerConnection], Awaitable[Any]]) -> Any:
        """Repeat over connections until answered. Raises UnknownOutcome if it was ever sent."""
        deadline_s = self._seams.clock.now() + self._timeout_s
        maybe_applied = False
        while True:
            try:
                connection = await self._connection(deadline_s)
                return await _bounded(self._seams, once(connection), deadline_s)
            except NotLeader as error:
                self._redirect(connection, error.address)
            except UnknownOutcome:
                maybe_applied = True
            except ConnectionLost as error:
                maybe_applied = maybe_applied or error.sent
            except TimeoutError:
                raise UnknownOutcome("no answer in time") from None
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
            found: ServerConnection = await _bounded(self._seams, connected, deadline_s)
        except TimeoutError:
            raise Unavailable("no member leads or can be reached") from None
        return found

    def _redirect(self, connection: ServerConnection, address: str) -> None:
        if self._connector is not None:
            self._connector.leave(connection, address)


def _lease(answer: Sequence[Any]) -> Lease:
    lease_id, ttl_s, granted_s, keys = answer
    return Lease(lease_id, ttl_s, granted_s, tuple(keys))


class _Restart(Exception):
    """The session is gone and the write was surely not executed: take a new session."""


async def _bounded(seams: Seams, work: Awaitable[Any], deadline_s: float | None) -> Any:
    """Await with a deadline of the clock seam. Raises TimeoutError."""
    task = asyncio.ensure_future(work)
    if deadline_s is None:
        return await task
    timer = seams.clock.call_later(max(0.0, deadline_s - seams.clock.now()), task.cancel, _LATE)
    try:
        return await task
    except asyncio.CancelledError as error:
        if error.args == (_LATE,):
            raise TimeoutError from None
        task.cancel()
        raise
    finally:
        timer.cancel()


_LATE = "deadline of the request"
