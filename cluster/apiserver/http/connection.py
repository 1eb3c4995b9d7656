"""One client connection: requests are answered in order, one at a time, on one transport."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import httptools

from actors.seams.clock import Clock, TimerHandle
from cluster.apiserver.http.body import BodyStream
from cluster.apiserver.http.messages import (
    Handler,
    Headers,
    Request,
    Response,
    chunk,
    encode_head,
    parse_query,
)
from cluster.apiserver.http.pieces import PIECE_BYTES, joined, write_pieces
from cluster.streaming.link import Link

log = logging.getLogger(__name__)

TURN_BYTES = 1024 * 1024
"""Of one answer, that are written before other connections have their turn."""


@dataclass(frozen=True)
class Limits:
    """What one client may cost. Sizes in bytes, times in seconds."""

    body_bytes: int = 3 * 1024 * 1024
    header_bytes: int = 1024 * 1024
    queued_requests: int = 16
    header_timeout_s: float = 32.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 180.0
    ending_idle_s: float = 1.0
    buffer_bytes: int = 64 * 1024


class _Refused(Exception):
    """The request breaks a limit: answer and close."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class HttpConnection(asyncio.Protocol):
    """Parses requests, hands each to `handler`, writes the answer. Calls `forget` at the end."""

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        limits: Limits,
        opened: Callable[[HttpConnection], None],
        forget: Callable[[HttpConnection], None],
        flows: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`flows`: whether the bodies of requests for a path are passed on as they arrive."""
        self._handler, self._clock, self._limits = handler, clock, limits
        self._opened, self._forget, self._flows = opened, forget, flows
        self._parser: Any = httptools.HttpRequestParser(self)
        self._queue: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: TimerHandle | None = None
        self._resumed: list[Callable[[], None]] = []
        self._stream: ChunkedStream | None = None
        self._writable = True
        self._reading = True
        self._stopping = False
        self._link: Link | None = None
        self._flow: BodyStream | None = None
        self._after_upgrade = b""
        self._ending = False
        self._told_to_close = False
        self._start_message()

    # -- transport ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.buffer_bytes)
        self._peer = self._transport.get_extra_info("peercert") or None
        address = self._transport.get_extra_info("peername")
        self._address = str(address[0]) if isinstance(address, tuple) else ""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._opened(self)
        self._arm(self._limits.idle_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._queue.clear()
        self._writable = False
        self._parser = None  # these two know this connection: without them no cycle
        self._transport = cast(asyncio.Transport, _Gone())  # keeps it, and its buffers, alive
        if self._link is not None:
            self._link.connection_lost(exc)
        if self._flow is not None:
            self._flow.broke()
        if not self.closed.done():
            self.closed.set_result(None)
        self._forget(self)

    def pause_writing(self) -> None:
        self._writable = False
        if self._link is not None:
            self._link.pause_writing()

    def resume_writing(self) -> None:
        self._writable = True
        if self._link is not None:
            self._link.resume_writing()
        for callback in list(self._resumed):
            callback()

    def eof_received(self) -> bool:
        return self._link is not None and self._link.eof_received()

    def data_received(self, data: bytes) -> None:
        if self._link is not None:
            self._link.data_received(data)
            return
        if self._stopping:
            return
        self._unparsed_bytes += len(data)
        try:
            if not self._in_body and self._unparsed_bytes > self._limits.header_bytes:
                raise _Refused(431, "request header too large")
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade = data[upgrade.args[0] :]
            self._stop_reading()
            self._pause_reading()
        except httptools.HttpParserError as error:
            self._parser_failed(error)
        except _Refused as refused:
            self._refuse(refused)

    # -- parser callbacks --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._start_message()
        self._in_message = True
        self._arm(self._limits.header_timeout_s)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        self._in_body = True
        length = self._headers.get("content-length", "0")
        flows = self._flows(self._url.decode("latin-1").partition("?")[0])
        if flows and (length != "0" or "transfer-encoding" in self._headers):
            self._flow = BodyStream(self._pause_reading, self._resume_reading)
            self._enqueue(False)
        elif length.isdigit() and int(length) > self._limits.body_bytes:
            raise _Refused(413, f"limit is {self._limits.body_bytes}")
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._flow is not None:
            self._disarm()
            return
        self._arm(self._limits.body_timeout_s)

    def on_body(self, data: bytes) -> None:
        if self._flow is not None:
            self._flow.feed(data)
            return
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes:
            raise _Refused(413, f"limit is {self._limits.body_bytes}")
        self._body.append(data)

    def on_message_complete(self) -> None:
        self._disarm()
        self._in_body = self._in_message = False
        self._unparsed_bytes = 0
        if self._flow is not None:
            self._flow.end()
            self._stop_reading()  # the connection ends with the answer
            return
        self._enqueue(bool(self._parser.should_keep_alive()) and "upgrade" not in self._headers)

    def _enqueue(self, keep_alive: bool) -> None:
        self._queue.append((self._request(), keep_alive))
        if len(self._queue) >= self._limits.queued_requests:
            self._pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    # -- requests ----------------------------------------------------------------------------

    def _start_message(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._unparsed_bytes = 0
        self._in_body = self._in_message = False

    def _request(self) -> Request:
        raw_path, _, raw_query = self._url.decode("latin-1").partition("?")
        return Request(
            method=self._parser.get_method().decode(),
            path=unquote(raw_path),
            query=parse_query(raw_query),
            headers=self._headers,
            body=b"".join(self._body),
            peer_certificate=self._peer,
            open_stream=self._open_stream,
            peer_address=self._address,
            raw_path=raw_path,
            raw_query=raw_query,
            take_over=self._take_over,
            body_stream=self._flow,
            closed=self.closed,
        )

    async def _serve(self) -> None:
        """Answer what is queued; ends when the queue is empty, so an idle client costs no task."""
        try:
            while self._queue and not self.closed.done():
                request, keep_alive = self._queue.popleft()
                self._resume_reading()
                await self._answer(request, keep_alive)
                if self._told_to_close or not keep_alive or self._stopping:
                    self._transport.close()
                    return
        finally:
            self._task = None
        if not self.closed.done():
            self._await_request()

    def _await_request(self) -> None:
        limits = self._limits
        if self._in_message:
            self._arm(limits.body_timeout_s if self._in_body else limits.header_timeout_s)
        else:
            self._arm(limits.ending_idle_s if self._ending else limits.idle_timeout_s)

    async def _answer(self, request: Request, keep_alive: bool) -> None:
        self._stream = None
        response = await self._handler(request)
        stream = cast(ChunkedStream | None, self._stream)
        if stream is not None and response is not None:
            stream.abort()  # it failed half way: a clean end would hide that
        elif stream is not None:
            stream.finish()
        elif response is not None:
            self._write(response, keep_alive, request.method == "HEAD")
            if response.rest and request.method != "HEAD":
                await self._write_rest(response.rest)
        self._stream = None
        if not self._writable and not self.closed.done():
            await self._drain()

    def _write(self, response: Response, keep_alive: bool, head_only: bool) -> None:
        if self.closed.done():
            return
        headers = dict(response.headers)
        if response.status != 304:
            headers["Content-Type"] = response.content_type
        if not head_only or "Content-Length" not in headers:
            headers["Content-Length"] = str(response.size_bytes)
        if not keep_alive or self._ending:
            headers["Connection"] = "close"
            self._told_to_close = True
        head = encode_head(response.status, headers)
        body = b"" if head_only else response.body
        if len(body) < PIECE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            write_pieces(self._transport, body)

    async def _write_rest(self, rest: Sequence[bytes]) -> None:
        """Others have their turn meanwhile, and for a client that reads slowly no more is
        encrypted than the buffer holds."""
        written = 0
        for piece in joined(rest):
            write_pieces(self._transport, piece)
            written += len(piece)
            if written >= TURN_BYTES:
                written = 0
                await asyncio.sleep(0)
            if not self._writable and not self.closed.done():
                await self._drain()
            if self.closed.done():
                return

    def _open_stream(self, status: int, headers: Headers) -> ChunkedStream:
        self._stream = ChunkedStream(self, self._transport)
        if not self.closed.done():
            sent = {**headers, "Transfer-Encoding": "chunked"}
            if self._ending:
                sent["Connection"] = "close"
                self._told_to_close = True
            self._transport.write(encode_head(status, sent))
        return self._stream

    def _take_over(self, headers: Headers) -> Link:
        """See `messages.TakeOver`."""
        if self.closed.done():
            raise ConnectionResetError("the client went away")
        self._transport.write(encode_head(101, headers))
        self._link = link = Link()
        link.connection_made(self._transport)
        if self._after_upgrade:
            link.data_received(self._after_upgrade)
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        return link

    # -- flow --------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        return self._writable

    def on_writable(self, callback: Callable[[], None]) -> None:
        self._resumed.append(callback)

    def off_writable(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(ValueError):
            self._resumed.remove(callback)

    async def _drain(self) -> None:
        resumed = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not resumed.done():
                resumed.set_result(None)

        self._resumed.append(wake)
        try:
            await asyncio.wait([resumed, self.closed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._resumed.remove(wake)

    async def drain(self) -> None:
        if not self._writable and not self.closed.done():
            await self._drain()
        if self.closed.done():
            raise ConnectionResetError("the client went away")

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        full = len(self._queue) >= self._limits.queued_requests
        if not self._reading and not full and not self.closed.done() and not self._stopping:
            self._reading = True
            self._transport.resume_reading()

    # -- ends --------------------------------------------------------------------------------

    @property
    def streaming(self) -> bool:
        """Whether it is busy with an answer that has no end of its own."""
        return self._task is not None and self._stream is not None

    def end_soon(self) -> None:
        """The next answer says that it is the last. Who asks nothing is sent elsewhere.

        Closing at once would meet requests on their way: their senders could not know whether
        they were carried out.
        """
        self._ending = True
        if self._task is None and not self._in_message:
            self._arm(self._limits.ending_idle_s)

    def abort(self) -> None:
        """Drop the connection and what it was doing."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    def _stop_reading(self) -> None:
        self._stopping = True

    def _parser_failed(self, error: Exception) -> None:
        cause = error.__context__
        if isinstance(cause, _Refused):
            self._refuse(cause)
        else:
            self._refuse(_Refused(400, "malformed HTTP request"))

    def _refuse(self, refused: _Refused) -> None:
        self._stop_reading()
        self._disarm()
        text = f"{refused}\n".encode()
        self._write(Response(refused.status, text, "text/plain; charset=utf-8"), False, False)
        self._transport.close()

    def _arm(self, delay_s: float) -> None:
        self._disarm()
        self._timer = self._clock.call_later(delay_s, self._timed_out)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        """408 says that nothing was carried out, should a request be on its way just now."""
        if self._task is None:
            self._refuse(_Refused(408, "no request came in time"))


class _Gone:
    """In place of the transport of a connection that is lost."""

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    def close(self) -> None:
        """It is."""

    abort = pause_reading = resume_reading = close


class ChunkedStream:
    """An answer of chunks; see `messages.Stream`."""

    def __init__(self, connection: HttpConnection, transport: asyncio.Transport) -> None:
        self._connection, self._transport = connection, transport
        self._callbacks: list[Callable[[], None]] = []
        self.closed = connection.closed
        self.drain = connection.drain

    @property
    def writable(self) -> bool:
        return self._connection.writable

    def on_writable(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)
        self._connection.on_writable(callback)

    def write(self, data: bytes) -> None:
        if data:
            self.write_chunks(chunk(data))

    def write_chunks(self, framed: bytes) -> None:
        if not self.closed.done():
            write_pieces(self._transport, framed)

    def abort(self) -> None:
        self._transport.abort()

    def finish(self) -> None:
        """Called by the connection when the handler has returned."""
        for callback in self._callbacks:
            self._connection.off_writable(callback)
        self._callbacks.clear()
        self.write_chunks(b"0\r\n\r\n")
