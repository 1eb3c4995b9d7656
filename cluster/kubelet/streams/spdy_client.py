"""Remote commands over SPDY: one stream each, named by its header `streamtype`."""

from __future__ import annotations

import asyncio
import json

from cluster.kubelet.runtimes.interactive import Wanted
from cluster.kubelet.streams.client import ClientLeft, Size, parse_size
from cluster.kubelet.streams.statuses import Status
from cluster.streaming.link import Link
from cluster.streaming.spdy.connection import Connection, Stream
from cluster.streaming.spdy.errors import SpdyError
from cluster.streaming.spdy.session import Session

V1, V2, V3, V4 = "channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io", "v4.channel.k8s.io"
PROTOCOLS = (V4, V3, V2, V1)
_STREAMS_MAX = 8
_SIZE_BYTES_MAX = 1024


class SpdyCommandClient:
    def __init__(self, link: Link, protocol: str, wanted: Wanted) -> None:
        self._protocol = protocol
        self._streams: dict[str, Stream] = {}
        self._missing = _expected(protocol, wanted)
        self._all_there = asyncio.Event()
        session = Session(streams_max=_STREAMS_MAX)
        self._connection = Connection(link, session, self._opened)
        self._running = asyncio.create_task(self._run(), name="spdy")
        self._sizes = b""

    async def _run(self) -> None:
        try:
            await self._connection.run()
        except (SpdyError, ConnectionError):
            return

    def _opened(self, stream: Stream) -> None:
        name = stream.headers.get("streamtype", "")
        self._streams.setdefault(name, stream)
        self._missing.discard(name)
        if not self._missing:
            self._all_there.set()

    async def opened(self) -> None:
        waiting = asyncio.ensure_future(self._all_there.wait())
        try:
            await asyncio.wait([waiting, self._running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not self._all_there.is_set():
            raise ClientLeft("the connection ended before all streams were there")

    async def read_input(self) -> bytes:
        return await self._streams["stdin"].read()

    async def write_output(self, data: bytes, *, error: bool) -> None:
        await self._streams["stderr" if error else "stdout"].write(data)

    async def next_size(self) -> Size | None:
        stream = self._streams.get("resize")
        if stream is None:
            return None
        while len(self._sizes) <= _SIZE_BYTES_MAX:
            line, found, rest = self._sizes.partition(b"}")
            if found:
                self._sizes = rest
                size = parse_size(line + found)
                if size is not None:
                    return size
            elif data := await stream.read():
                self._sizes += data
            else:
                break
        return None

    async def finish(self, status: Status) -> None:
        stream = self._streams["error"]
        if self._protocol == V4:
            await stream.write(json.dumps(status).encode())
        elif status["status"] != "Success":
            await stream.write(status["message"].encode())
        for each in ("stdout", "stderr", "error"):
            if each in self._streams:
                await self._streams[each].finish()

    async def ping(self) -> None:
        await self._connection.ping()

    async def left(self) -> None:
        await asyncio.wait([self._running])

    async def close(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


def _expected(protocol: str, wanted: Wanted) -> set[str]:
    names = {"error"}
    names |= {name for name in ("stdin", "stdout", "stderr") if getattr(wanted, name)}
    if wanted.tty and protocol in (V3, V4):
        names.add("resize")
    return names
