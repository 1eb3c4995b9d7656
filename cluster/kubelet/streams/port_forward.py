"""Port-forward: connections to a pod's address, each a pair of streams (data and error)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from actors.seams.clock import Clock
from cluster.kubelet.streams.remote_command import PING_S
from cluster.streaming.link import Channel, Link
from cluster.streaming.spdy.connection import Connection, Stream
from cluster.streaming.spdy.session import Session

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
"""SPDY in the messages of a WebSocket."""
STREAMS_MAX = 1024
PAIR_TIMEOUT_S = 30.0
_AFTER_END_S = 1.0


class Duplex(Protocol):
    """The client's side of one forwarded connection."""

    async def read(self) -> bytes: ...

    async def write(self, data: bytes) -> None: ...

    async def finish(self) -> None: ...


class Refused(Exception):
    """The pod cannot be reached; the message is for the client."""


Dial = Callable[[int], Awaitable[Link]]
"""To a port of the pod. Raises Refused."""


async def carry(client: Duplex, pod: Link) -> None:
    """Both ways. Once the pod has sent its last, little is waited for what the client sends."""
    up = asyncio.create_task(_up(client, pod))
    try:
        with contextlib.suppress(ConnectionError):
            while data := await pod.read():
                await client.write(data)
            await client.finish()
        await asyncio.wait([up], timeout=_AFTER_END_S)
    finally:
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)
        pod.abort()


async def _up(client: Duplex, pod: Link) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await client.read():
            await pod.write(data)
        pod.end_writing()


class SpdyPortForward:
    """Streams come in pairs with the headers `streamtype`, `port` and `requestid`."""

    def __init__(self, channel: Channel, dial: Dial, clock: Clock) -> None:
        self._dial, self._clock = dial, clock
        session = Session(streams_max=STREAMS_MAX)
        self._connection = Connection(channel, session, self._opened)
        self._waiting: dict[str, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the client leaves. Raises SpdyError, ConnectionError."""
        self._spawn(self._pings())
        try:
            await self._connection.run()
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pings(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._clock.sleep(PING_S)
                await self._connection.ping()

    def _opened(self, stream: Stream) -> None:
        kind = stream.headers.get("streamtype", "")
        if kind not in ("data", "error"):
            self._spawn(stream.reset())
            return
        own = stream.stream_id if kind == "error" else stream.stream_id - 2
        request = stream.headers.get("requestid") or str(own)
        other = self._waiting.pop(request, None)
        if other is None:
            self._waiting[request] = stream
            self._spawn(self._give_up(request, stream))
        else:
            data, error = (stream, other) if kind == "data" else (other, stream)
            self._spawn(self._forward(data, error))

    async def _give_up(self, request: str, stream: Stream) -> None:
        """A stream whose partner never comes is not kept."""
        await self._clock.sleep(PAIR_TIMEOUT_S)
        if self._waiting.get(request) is stream:
            del self._waiting[request]
            with contextlib.suppress(ConnectionError):
                await stream.reset()

    async def _forward(self, data: Stream, error: Stream) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                pod = await self._dial(_port(data.headers.get("port", "")))
            except Refused as refused:
                await error.write(str(refused).encode())
                await error.finish()
                await data.reset()
                return
            await carry(_Finishing(data, error), pod)
            await data.reset()
            await error.reset()


class _Finishing:
    """The end of the data ends the error stream too: clients wait for both."""

    def __init__(self, data: Stream, error: Stream) -> None:
        self.read, self.write = data.read, data.write
        self._data, self._error = data, error

    async def finish(self) -> None:
        await self._data.finish()
        await self._error.finish()


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise Refused(f"invalid port {text!r}")
    return int(text)
