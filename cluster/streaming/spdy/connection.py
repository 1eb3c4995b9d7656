"""Streams of a SPDY connection for coroutines, over anything that carries bytes both ways."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from cluster.streaming.link import Channel
from cluster.streaming.spdy import session as states
from cluster.streaming.spdy.errors import SpdyError
from cluster.streaming.spdy.session import Event, Session

STREAM_HIGH_WATER_BYTES = 256 * 1024


class Stream:
    """Read, write, `finish` when nothing more is sent. Reading may end while writing goes on."""

    def __init__(self, owner: Connection, stream_id: int, headers: Mapping[str, str]) -> None:
        self.stream_id, self.headers = stream_id, headers
        self._owner = owner
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()

    async def read(self) -> bytes:
        """What has come, b"" at the end of the stream or of the connection."""
        while not self._pieces:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held_bytes = 0
        self._space.set()
        await self._owner.consumed(self.stream_id, len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Waits while the connection is full. Raises ConnectionError if it is gone."""
        await self._owner.send(self.stream_id, data)

    async def finish(self) -> None:
        """Nothing more is sent."""
        await self._owner.finish(self.stream_id)

    async def reset(self) -> None:
        """Ends both directions."""
        self._end()
        await self._owner.reset(self.stream_id)

    def _put(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > STREAM_HIGH_WATER_BYTES:
            self._space.clear()
        self._changed.set()

    def _end(self) -> None:
        self._ended = True
        self._changed.set()
        self._space.set()


class Connection:
    """`on_stream` is called for each stream that the other side opens. `run` does the reading.

    While a stream is full nothing is read: senders that know no flow control have to be stopped
    by TCP, and with them the other streams of the same connection.
    """

    def __init__(
        self, channel: Channel, session: Session, on_stream: Callable[[Stream], None]
    ) -> None:
        self._channel, self._session, self._on_stream = channel, session, on_stream
        self._streams: dict[int, Stream] = {}

    async def run(self) -> None:
        """Until the connection ends. Raises SpdyError for a broken one, ConnectionError."""
        try:
            while data := await self._channel.read():
                await self._receive(data)
        except SpdyError:
            await self._flush(urgent=True)
            raise
        finally:
            for stream in self._streams.values():
                stream._end()

    async def _receive(self, data: bytes) -> None:
        for event in self._session.receive(data):
            stream = self._handle(event)
            if stream is not None:
                await self._flush(urgent=True)
                await stream._space.wait()
        await self._flush(urgent=True)

    def _handle(self, event: Event) -> Stream | None:
        """The stream that got data, which may be full now."""
        if isinstance(event, states.Opened):
            stream = Stream(self, event.stream_id, event.headers)
            self._streams[event.stream_id] = stream
            self._on_stream(stream)
        elif isinstance(event, states.Received):
            found = self._streams[event.stream_id]
            found._put(event.data)
            return found
        elif isinstance(event, states.Finished | states.Reset):
            self._streams[event.stream_id]._end()
            self._tidy(event.stream_id)
        return None

    def _tidy(self, stream_id: int) -> None:
        if stream_id not in self._session.stream_ids:
            self._streams.pop(stream_id, None)

    async def open(self, headers: Mapping[str, str]) -> Stream:
        stream = Stream(self, self._session.open(headers), headers)
        self._streams[stream.stream_id] = stream
        await self._flush()
        return stream

    async def send(self, stream_id: int, data: bytes) -> None:
        self._session.send(stream_id, data)
        await self._flush()

    async def finish(self, stream_id: int) -> None:
        self._session.finish(stream_id)
        self._tidy(stream_id)
        await self._flush()

    async def reset(self, stream_id: int) -> None:
        self._session.reset(stream_id)
        self._tidy(stream_id)
        await self._flush()

    async def consumed(self, stream_id: int, size_bytes: int) -> None:
        self._session.consumed(stream_id, size_bytes)
        await self._flush(urgent=True)

    async def ping(self) -> None:
        self._session.ping()
        await self._flush(urgent=True)

    async def leave(self) -> None:
        self._session.leave()
        await self._flush()

    async def _flush(self, *, urgent: bool = False) -> None:
        output = self._session.output()
        if output:
            await self._channel.write(output, urgent=urgent)
