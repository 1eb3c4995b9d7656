"""The client's end: one pipelined connection, and the search for the member that leads."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Any

from actors.seams import Clock, Seams
from actors.seams.clock import TimerHandle
from raftstore import wire
from raftstore.errors import InvalidRequest, NotLeader, StoreError
from raftstore.framing import FrameProtocol
from raftstore.raft.transport import split_address

MAX_QUEUED_BATCHES = 1024
PING_S = 1.0
PING_TIMEOUT_S = 1.0
CONNECT_TIMEOUT_S = 2.0
STAGGER_S = 0.25
"""How long a member may take to answer before the next one is asked as well (RFC 8305, 5)."""
BACK_OFF_S = (0.02, 0.5)
NEVER_S = float("inf")
_logger = logging.getLogger(__name__)


class ConnectionLost(Exception):
    """`sent`: the request may have reached the member."""

    def __init__(self, sent: bool) -> None:
        super().__init__("connection to a member was lost")
        self.sent = sent


class _Stream:
    """Answers that belong to one watch, bounded: a reader that lags restarts the watch."""

    def __init__(self) -> None:
        self.answers: deque[Any] = deque()
        self.news = asyncio.Event()
        self.overflowed = False

    def add(self, answer: Any) -> None:
        if len(self.answers) >= MAX_QUEUED_BATCHES:
            self.overflowed = True
        elif not self.overflowed:
            self.answers.append(answer)
        self.news.set()


class ServerConnection(FrameProtocol):
    """Requests in flight are told apart by their ids."""

    max_frame_bytes = (1 << 32) - 1

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._next_id = 0
        self._waiting: dict[int, tuple[asyncio.Future[Any], float]] = {}
        self._streams: dict[int, _Stream] = {}
        self._timer: TimerHandle | None = None
        self._timer_due_s = NEVER_S
        self.lost = asyncio.Event()
        self.nudge = asyncio.Event()
        """Wakes whoever looks after this connection: it was lost, left, or is due for a ping."""

    async def request(
        self, method: str, arguments: Sequence[Any], deadline_s: float = NEVER_S
    ) -> Any:
        """Send and await the answer.

        Raises what the member raised, ConnectionLost, or TimeoutError after `deadline_s`.
        """
        if self.transport is None or self.transport.is_closing():
            raise ConnectionLost(sent=False)
        request_id = self.post(method, arguments)
        future = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future, deadline_s
        if deadline_s < self._timer_due_s:
            self._arm(deadline_s)
        try:
            return wire.answer(await future)
        finally:
            self._waiting.pop(request_id, None)

    def _arm(self, due_s: float) -> None:
        """One timer serves all requests: most are answered long before it fires."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due_s = due_s
        self._timer = self._clock.call_later(due_s - self._clock.now(), self._expire)

    def _expire(self) -> None:
        now_s = self._clock.now()
        for future, deadline_s in self._waiting.values():
            if deadline_s <= now_s and not future.done():
                future.set_exception(TimeoutError())
        left_s = [deadline_s for _, deadline_s in self._waiting.values() if deadline_s > now_s]
        self._timer, self._timer_due_s = None, NEVER_S
        if (due_s := min(left_s, default=NEVER_S)) < NEVER_S:
            self._arm(due_s)

    def post(self, method: str, arguments: Sequence[Any]) -> int:
        """Send without awaiting; the request's id."""
        self._next_id += 1
        self.send((self._next_id, method, *arguments))
        return self._next_id

    async def stream(self, method: str, arguments: Sequence[Any]) -> AsyncGenerator[Any, None]:
        """Answers to one request until closed. Raises what ends it, or ConnectionLost."""
        request_id = self.post(method, arguments)
        stream = self._streams[request_id] = _Stream()
        try:
            while True:
                while stream.answers:
                    yield wire.answer(stream.answers.popleft())
                if stream.overflowed or self.lost.is_set():
                    raise ConnectionLost(sent=True)
                stream.news.clear()
                await stream.news.wait()
        finally:
            del self._streams[request_id]
            self.post("cancel", [request_id])

    def received(self, message: Any) -> None:
        try:
            request_id, succeeded, value = message
        except (TypeError, ValueError) as error:
            raise InvalidRequest("malformed answer") from error
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            if not waiting[0].done():
                waiting[0].set_result((succeeded, value))
        elif (stream := self._streams.get(request_id)) is not None:
            stream.add((succeeded, value))

    def closed(self, error: Exception | None) -> None:
        self.lost.set()
        self.nudge.set()
        if self._timer is not None:
            self._timer.cancel()
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionLost(sent=True))
        for stream in self._streams.values():
            stream.news.set()


async def dial(seams: Seams, endpoint: str, context: ssl.SSLContext | None) -> ServerConnection:
    """Raises OSError, TimeoutError."""
    host, port = split_address(endpoint)
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        _, connection = await seams.network.connect(
            host, port, lambda: ServerConnection(seams.clock), tls=context, server_name=host
        )
    assert isinstance(connection, ServerConnection)
    return connection


class Connector:
    """Keeps one connection to the member that leads; hints shorten the search."""

    def __init__(
        self, seams: Seams, endpoints: Sequence[str], context: ssl.SSLContext | None
    ) -> None:
        self._seams, self._endpoints, self._tls = seams, list(endpoints), context
        self._learned: list[str] = []  # members that were added since
        self.current: ServerConnection | None = None
        self._hint = ""
        self._position = 0
        self._asked: dict[str, asyncio.Task[ServerConnection | None]] = {}
        """Members that have not answered yet."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._position = self._seams.randomness.randrange(len(self._endpoints))
        self._task = asyncio.create_task(self._keep_connected())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._ask_no_more()

    async def connected(self) -> ServerConnection:
        """Wait for a connection."""
        while self.current is None:
            self._changed.clear()
            await self._changed.wait()
        return self.current

    def leave(self, connection: ServerConnection, leader_address: str) -> None:
        """This member does not lead (any more)."""
        self._hint = leader_address
        if connection is self.current:
            self.current = None
            connection.nudge.set()

    def learn(self, addresses: Sequence[str]) -> None:
        """Where the members are now: they may not be those that this client was told of."""
        self._learned = [address for address in addresses if address not in self._endpoints]

    async def _keep_connected(self) -> None:
        shortest_s, longest_s = BACK_OFF_S
        back_off_s = shortest_s
        while True:
            connection = await self._try_next()
            if connection is None:
                await self._seams.clock.sleep(back_off_s * self._seams.randomness.uniform(0.5, 1))
                back_off_s = min(longest_s, back_off_s * 1.5)
                continue
            back_off_s = shortest_s
            await self._use(connection)

    async def _try_next(self) -> ServerConnection | None:
        """Ask one more member whether it leads, and wait a little for all that were asked."""
        endpoint = self._next_endpoint()
        if endpoint not in self._asked:
            self._asked[endpoint] = asyncio.create_task(self._ask(endpoint))
        await asyncio.wait(
            self._asked.values(), timeout=STAGGER_S, return_when=asyncio.FIRST_COMPLETED
        )
        answered = [asked for asked, task in self._asked.items() if task.done()]
        found = [c for asked in answered if (c := self._asked.pop(asked).result()) is not None]
        if not found:
            return None
        for spare in found[1:]:
            spare.abort()
        self._ask_no_more()
        return found[0]

    def _next_endpoint(self) -> str:
        """The hinted member or the next one, if possible one that is not being asked."""
        endpoint, self._hint = self._hint, ""
        candidates = [*self._endpoints, *self._learned]
        for _ in candidates:
            if endpoint and endpoint not in self._asked:
                break
            endpoint = candidates[self._position % len(candidates)]
            self._position += 1
        return endpoint

    def _ask_no_more(self) -> None:
        for task in self._asked.values():
            task.cancel()
        self._asked = {}

    async def _ask(self, endpoint: str) -> ServerConnection | None:
        """A connection to this member, if it leads."""
        try:
            connection = await dial(self._seams, endpoint, self._tls)
        except (OSError, TimeoutError) as error:
            _logger.debug("cannot reach %s: %s", endpoint, error)
            return None
        leads = False
        try:
            leads = await self._leads(connection)
        finally:
            if not leads:
                connection.abort()
        return connection if leads else None

    async def _use(self, connection: ServerConnection) -> None:
        self.current = connection
        self._changed.set()
        try:
            while not await self._wait_lost(connection):
                if self.current is not connection or not await self._leads(connection):
                    break
        finally:
            if self.current is connection:
                self.current = None
            connection.abort()

    async def _wait_lost(self, connection: ServerConnection) -> bool:
        """Whether the connection was lost or left within the time between two pings."""
        timer = self._seams.clock.call_later(PING_S, connection.nudge.set)
        try:
            await connection.nudge.wait()
        finally:
            timer.cancel()
        connection.nudge.clear()
        return connection.lost.is_set()

    async def _leads(self, connection: ServerConnection) -> bool:
        """Ask. A member that does not answer in time might as well be gone."""
        timer = self._seams.clock.call_later(PING_TIMEOUT_S, connection.abort)
        try:
            members = await connection.request("ping", [])
        except NotLeader as error:
            self._hint = error.address
            return False
        except (ConnectionLost, StoreError):
            return False
        finally:
            timer.cancel()
        self.learn(members)
        return True


async def bounded(seams: Seams, work: Awaitable[Any], deadline_s: float | None) -> Any:
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
