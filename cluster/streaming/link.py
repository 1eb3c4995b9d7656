"""A connection as a pair of byte streams: read when somebody wants to, written with patience."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Protocol, cast

from actors.seams.clock import Clock

HIGH_WATER_BYTES = 256 * 1024
URGENT_BYTES = 1 << 20
LINGER_S = 600.0
SHORT_LINGER_S = 5.0


class Channel(Protocol):
    """Bytes both ways. A `Link` is one, and so are the messages of a WebSocket."""

    async def read(self) -> bytes:
        """What has come, b"" at the end. Raises ConnectionError if the connection broke."""
        ...

    async def write(self, data: bytes, *, urgent: bool = False) -> None:
        """Waits while the other side reads too slowly. Raises ConnectionError.

        What is urgent waits only behind 1 MiB: answers that the reading side gives must not
        stop the reading while writers have filled the connection.
        """
        ...

    def close(self) -> None: ...


class Link(asyncio.Protocol):
    """Holds at most about 256 KiB in each direction; what is more waits in the sender."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = False
        self._broken: Exception | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._half_open = False
        self._linger: asyncio.TimerHandle | None = None
        self.activity = 0
        """Counts what passed, but for what was urgent (pings and the like): is it in use?"""
        self.closed = asyncio.Event()

    # -- what the transport calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._half_open = self._transport.get_extra_info("sslcontext") is None

    def data_received(self, data: bytes) -> None:
        self.activity += 1
        self._pieces.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._open().pause_reading()
        self._readable.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._readable.set()
        return self._half_open  # the other direction may go on; TLS cannot do that

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._broken = exc or ConnectionResetError("the connection was closed")
        if self._linger is not None:
            self._linger.cancel()
        self.closed.set()
        self._readable.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- for whoever has the link --------------------------------------------------------------

    async def read(self) -> bytes:
        while not self._pieces:
            if self._ended:
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held_bytes = 0
        if self._paused:
            self._paused = False
            if not self.closed.is_set():
                self._open().resume_reading()
        return data

    async def write(self, data: bytes, *, urgent: bool = False) -> None:
        self._check()
        self.activity += not urgent
        self._open().write(data)
        if urgent and self._open().get_write_buffer_size() < URGENT_BYTES:
            return
        if not self._writable.is_set():
            await self._writable.wait()
            self._check()

    def end_writing(self) -> None:
        """Tell the other side that nothing more comes; it may still send."""
        transport = self._open()
        if not self.closed.is_set() and transport.can_write_eof():
            with contextlib.suppress(OSError):
                transport.write_eof()

    def close(self, linger_s: float = LINGER_S) -> None:
        """Send what was written, then close. Who has not read it after `linger_s` is dropped."""
        if not self.closed.is_set() and self._linger is None:
            self._open().close()
            self._linger = asyncio.get_running_loop().call_later(linger_s, self.abort)

    def abort(self) -> None:
        self._open().abort()

    def _check(self) -> None:
        if self._broken is not None or self._open().is_closing():
            raise ConnectionResetError(str(self._broken or "the connection is closed"))

    def _open(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport


async def end_when_idle(link: Link, clock: Clock, idle_s: float) -> None:
    """Returns when nothing has passed for `idle_s`, give or take a quarter of it."""
    quiet = 0
    while quiet < 4:
        seen = link.activity
        await clock.sleep(idle_s / 4)
        quiet = quiet + 1 if link.activity == seen else 0


async def relay(client: Link, backend: Link) -> None:
    """Carry bytes both ways until either side has ended; then both are closed.

    What the backend has said is delivered to its end; a client that has gone is not waited for.
    """
    there = asyncio.create_task(_pump(client, backend))
    back = asyncio.create_task(_pump(backend, client))
    gone = asyncio.create_task(_closed(client))
    try:
        await asyncio.wait([there, back, gone], return_when=asyncio.FIRST_COMPLETED)
        if not gone.done() and there.done() and not there.result():
            await asyncio.wait([back, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (there, back, gone):
            task.cancel()
        await asyncio.gather(there, back, gone, return_exceptions=True)
        client.close()
        backend.close(SHORT_LINGER_S)


async def _closed(link: Link) -> bool:
    return await link.closed.wait()


async def _pump(source: Link, sink: Link) -> bool:
    """True at the end of the source, False if the sink broke."""
    try:
        while data := await source.read():
            await sink.write(data)
    except ConnectionError:
        return False
    return True
