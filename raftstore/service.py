"""What a member answers its clients: msgpack frames, pipelined, many watches per connection.

A request is `[id, method, arguments...]`; its answer `[id, true, value]` or `[id, false, error]`.
A watch is answered by batches under its id until it is cancelled or ends with an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from raftstore import errors, wire
from raftstore.errors import InvalidRequest, StoreError
from raftstore.framing import FrameProtocol
from raftstore.identity import Organizations, is_allowed
from raftstore.mvcc.machine import Request
from raftstore.pacing import Pace
from raftstore.types import EventType
from raftstore.watch import Watcher, WatchHub

MAX_REQUEST_BYTES = 16 << 20
MAX_PENDING = 10_000
MAX_WATCHES = 10_000
_logger = logging.getLogger(__name__)

Answer = Callable[[bytes], None]


class Backend(Protocol):
    """What the service needs from its member. Answers are packed (see `wire.answer`)."""

    @property
    def hub(self) -> WatchHub: ...

    def write(self, request: Request, answer: Answer) -> None: ...

    def read(self, operation: Any, serializable: bool, pace: Pace, answer: Answer) -> None: ...

    def keep_alive(self, lease_id: int, answer: Answer) -> None: ...

    def time_to_live(self, lease_id: int, answer: Answer) -> None: ...

    def ping(self) -> Sequence[str]:
        """Client addresses of the members. Raises NotLeader unless this member leads."""
        ...

    def move_leader(self, target_id: int, answer: Answer) -> None: ...

    def member_list(self, linearizable: bool, answer: Answer) -> None: ...

    def change_members(self, action: str, arguments: Sequence[Any], answer: Answer) -> None: ...

    def status(self) -> Any: ...

    def hash_kv(self, revision: int, answer: Answer) -> None: ...

    def export(self) -> Iterator[Any]:
        """The state as of now, in pieces."""
        ...


class Connection(FrameProtocol):
    """One client."""

    max_frame_bytes = MAX_REQUEST_BYTES

    def __init__(
        self, backend: Backend, connections: dict[Connection, None], allowed: Organizations
    ) -> None:
        super().__init__()
        self._backend, self._connections, self._allowed = backend, connections, allowed
        self._pending = 0
        self._paused = False
        self._watchers: dict[int, Watcher] = {}
        self._ready: dict[int, None] = {}
        self._pumping = False
        self._pace = Pace(lambda: self.writable)
        self._exporting: Iterator[tuple[int, Any]] = iter(())
        self._methods: dict[str, Callable[..., None]] = {
            "write": self._write,
            "read": self._read,
            "watch": self._watch,
            "cancel": self._cancel,
            "progress": self._progress,
            "keep_alive": self._keep_alive,
            "ttl": self._time_to_live,
            "ping": self._ping,
            "move_leader": self._move_leader,
            "member_list": self._member_list,
            "change_members": self._change_members,
            "status": self._status,
            "hash_kv": self._hash_kv,
            "export": self._export,
        }

    def opened(self) -> None:
        self._connections[self] = None
        if self.transport is not None and not is_allowed(self.transport, self._allowed):
            _logger.warning("refused a client: its certificate is not of the store's users")
            self.abort()

    def closed(self, error: Exception | None) -> None:
        self._connections.pop(self, None)
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers = {}
        self._pace.forget()

    def received(self, message: Any) -> None:
        try:
            request_id, method, *arguments = message
            handler = self._methods[method]
        except (TypeError, ValueError, KeyError) as error:
            raise InvalidRequest("malformed request") from error
        self._pending += 1
        try:
            handler(request_id, *arguments)
        except StoreError as error:
            self._answer(request_id, wire.failure(error))
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            self._answer(request_id, wire.failure(InvalidRequest(f"malformed request: {error}")))
        self._throttle()

    # ---- methods

    def _write(
        self, request_id: int, client: int, sequence: int, acknowledged: int, operation: bytes
    ) -> None:
        _check_numbers(client, sequence, acknowledged)
        request = Request(client, sequence, acknowledged, operation)
        self._backend.write(request, self._answering(request_id))

    def _read(self, request_id: int, operation: Any, serializable: bool) -> None:
        self._backend.read(operation, serializable, self._pace, self._answering(request_id))

    def _keep_alive(self, request_id: int, lease_id: int) -> None:
        _check_numbers(lease_id)
        self._backend.keep_alive(lease_id, self._answering(request_id))

    def _time_to_live(self, request_id: int, lease_id: int) -> None:
        _check_numbers(lease_id)
        self._backend.time_to_live(lease_id, self._answering(request_id))

    def _ping(self, request_id: int) -> None:
        self._answer(request_id, wire.success(self._backend.ping()))

    def _member_list(self, request_id: int, linearizable: bool) -> None:
        self._backend.member_list(linearizable, self._answering(request_id))

    def _change_members(self, request_id: int, action: str, *arguments: Any) -> None:
        self._backend.change_members(action, arguments, self._answering(request_id))

    def _move_leader(self, request_id: int, target_id: int) -> None:
        _check_numbers(target_id)
        self._backend.move_leader(target_id, self._answering(request_id))

    def _status(self, request_id: int) -> None:
        self._answer(request_id, wire.success(self._backend.status()))

    def _hash_kv(self, request_id: int, revision: int) -> None:
        _check_numbers(revision)
        self._backend.hash_kv(revision, self._answering(request_id))

    def _export(self, request_id: int, position: int) -> None:
        """Piece after piece of one export, as the client asks for them; None is the end.

        Position 0 starts over, any other must be that of the next piece.
        """
        self._pace.run(lambda: self._answer(request_id, self._piece(position)))

    def _piece(self, position: Any) -> bytes:
        try:
            if position == 0:
                self._exporting = enumerate(self._backend.export())
        except StoreError as error:
            return wire.failure(error)
        expected, piece = next(self._exporting, (position, None))
        if expected != position:
            wrong = InvalidRequest(f"the next piece is {expected}, not {position}")
            return wire.failure(wrong)
        return wire.success(piece)

    def _watch(
        self,
        request_id: int,
        key: bytes,
        range_end: bytes,
        start_revision: int,
        prev_kv: bool,
        filters: Sequence[EventType] = (),
    ) -> None:
        if len(self._watchers) >= MAX_WATCHES or request_id in self._watchers:
            raise InvalidRequest("too many watches, or one with this id exists")
        if not key or not isinstance(key, bytes) or not isinstance(range_end, bytes):
            raise InvalidRequest("a watch needs a key")
        _check_numbers(start_revision, prev_kv)
        if not isinstance(filters, list | tuple) or any(
            f not in ("put", "delete") for f in filters
        ):
            raise InvalidRequest("malformed request: events are filtered by put or delete")
        watcher = self._backend.hub.open(
            key, range_end, start_revision, prev_kv, lambda: self._has_news(request_id), filters
        )
        self._watchers[request_id] = watcher
        self._pending -= 1
        self._has_news(request_id)

    def _progress(self, request_id: int) -> None:
        self.report_progress()
        self._answer(request_id, wire.success(None))

    def _cancel(self, request_id: int, watch_id: int) -> None:
        self._forget(watch_id)
        self._answer(request_id, wire.success(None))

    # ---- watches

    def report_progress(self) -> None:
        """Tell every idle watch how far it is."""
        for watch_id, watcher in self._watchers.items():
            batch = watcher.progress() if self.writable else None
            if batch is not None:
                self._send_answer(watch_id, wire.success(batch))

    def end_watches(self, error: StoreError) -> None:
        """End all watches, so that their clients go where they are served better."""
        for watch_id in list(self._watchers):
            self._end(watch_id, error)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._pace.go_on()
        for watch_id in self._watchers:
            self._has_news(watch_id)
        self._throttle()

    def _has_news(self, watch_id: int) -> None:
        self._ready[watch_id] = None
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Each ready watch gives one batch in turn, while the client takes them."""
        self._pumping = False
        ready, self._ready = self._ready, {}
        for watch_id in ready:
            watcher = self._watchers.get(watch_id)
            if watcher is None or not self.writable:
                continue
            try:
                batch = watcher.take()
            except errors.Compacted as error:
                self._end(watch_id, error)
                continue
            if batch is not None:
                self._send_answer(watch_id, self._backend.hub.packed(batch))
                self._has_news(watch_id)

    def _end(self, watch_id: int, error: StoreError) -> None:
        self._forget(watch_id)
        self._send_answer(watch_id, wire.failure(error))

    def _forget(self, watch_id: int) -> None:
        watcher = self._watchers.pop(watch_id, None)
        if watcher is not None:
            watcher.close()

    # ---- answers

    def _answering(self, request_id: int) -> Answer:
        return lambda packed: self._answer(request_id, packed)

    def _answer(self, request_id: int, packed: bytes) -> None:
        self._pending -= 1
        self._send_answer(request_id, packed)
        if self._paused:
            self._throttle()

    def _send_answer(self, request_id: int, packed: bytes) -> None:
        """Put the id in front of an answer, which is packed already: a pair becomes a triple."""
        self._pace.made(len(packed))
        self.send_packed(b"\x93" + wire.pack(request_id) + packed[1:])

    def pause_writing(self) -> None:
        super().pause_writing()
        self._throttle()

    def _throttle(self) -> None:
        """Read no more requests from a client that has too many open or does not take answers."""
        pause = self._pending > MAX_PENDING or not self.writable
        if self.transport is None or pause == self._paused or self.transport.is_closing():
            return
        self._paused = pause
        (self.transport.pause_reading if pause else self.transport.resume_reading)()


def _check_numbers(*values: Any) -> None:
    """Raises InvalidRequest."""
    if not all(isinstance(value, int) for value in values):
        raise InvalidRequest("malformed request: a number is expected")
