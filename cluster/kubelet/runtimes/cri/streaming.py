"""Commands in containers over CRI's streaming URLs: the client's side of SPDY/3.1."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from actors.seams.network import Network
from cluster.kubelet.runtimes.base import RuntimeFailure
from cluster.kubelet.runtimes.interactive import Wanted
from cluster.streaming.link import Channel, Link
from cluster.streaming.spdy.connection import Connection, Stream
from cluster.streaming.spdy.errors import SpdyError
from cluster.streaming.spdy.session import Session

COMMAND_PROTOCOL, FORWARD_PROTOCOL = "v4.channel.k8s.io", "portforward.k8s.io"
_HANDSHAKE_TIMEOUT_S = 30.0
_HEAD_SIZE_BYTES_MAX = 64 * 1024
_STATUS_SIZE_BYTES_MAX = 1 << 20
_SAID_AGAIN = (
    "Internal error occurred: ",
    "error executing command in container: ",
    "failed to exec in container: ",
)
"""What the kubelet's own answer begins with."""


class Begun:
    """A link of which the first bytes have been read already."""

    def __init__(self, link: Link, first: bytes) -> None:
        self._link, self._first = link, first

    async def read(self) -> bytes:
        first, self._first = self._first, b""
        return first or await self._link.read()

    async def write(self, data: bytes, *, urgent: bool = False) -> None:
        """That something was read need not be told to a server that has said all and gone."""
        with contextlib.suppress(*((ConnectionError,) if urgent else ())):
            await self._link.write(data, urgent=urgent)

    def close(self) -> None:
        self._link.close()


class Spdy:
    """A connection to a streaming URL, as its client."""

    def __init__(self, link: Link, channel: Channel) -> None:
        self._link = link
        # Streaming servers (spdystream) count nothing, and leave when they have said all: an answer
        # that comes then would break the connection before the rest of it is read.
        session = Session(client=True, acknowledge=False)
        self._connection = Connection(channel, session, lambda _stream: None)
        self._running = asyncio.create_task(self._run(), name="cri stream")

    async def _run(self) -> None:
        with contextlib.suppress(SpdyError, ConnectionError):
            await self._connection.run()

    async def open(self, headers: Mapping[str, str]) -> Stream:
        return await self._connection.open(headers)

    async def close(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self._link.abort()


async def connect(network: Network, url: str, protocol: str) -> Spdy:
    """Raises RuntimeFailure if the runtime's streaming server is not there or refuses."""
    parts = urlsplit(url)
    secure = _unverified() if parts.scheme == "https" else None
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(_HANDSHAKE_TIMEOUT_S):
            _, link = await network.connect(host, port, Link, tls=secure)
            return await _upgraded(link, parts.path, parts.query, parts.netloc, protocol)
    except (OSError, TimeoutError) as error:
        text = f"the runtime's streaming server at {parts.netloc}: {error or 'no answer'}"
        raise RuntimeFailure("ExecFailed", text) from error


def _unverified() -> ssl.SSLContext:
    """Streaming servers sign their certificates themselves; the URL is what is secret."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _upgraded(link: Link, path: str, query: str, host: str, protocol: str) -> Spdy:
    target = f"{path}?{query}" if query else path
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        "Content-Length: 0",
        f"X-Stream-Protocol-Version: {protocol}",
    ]
    try:
        await link.write("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = await link.read()
            if not data or len(head) > _HEAD_SIZE_BYTES_MAX:
                raise ConnectionResetError("it ended the connection")
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise ConnectionRefusedError(head.split(b"\r\n", 1)[0].decode(errors="replace"))
    except BaseException:
        link.abort()
        raise
    return Spdy(link, Begun(link, rest))


class _Input:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._end: asyncio.Task[None] | None = None

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)

    def close(self) -> None:
        if self._end is None:
            self._end = asyncio.create_task(self._finish(), name="end of input")

    async def _finish(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._stream.finish()

    async def stop(self) -> None:
        if self._end is not None:
            self._end.cancel()
            await asyncio.gather(self._end, return_exceptions=True)


class RemoteCommand:
    """`interactive.Running`, over the streams of one connection."""

    def __init__(self, connection: Spdy, streams: Mapping[str, Stream]) -> None:
        self._connection, self._status = connection, streams["error"]
        self.stdin = _Input(streams["stdin"]) if "stdin" in streams else None
        self.stdout, self.stderr = streams.get("stdout"), streams.get("stderr")
        self._sizes = streams.get("resize")
        self._size: tuple[int, int] | None = None
        self._resizing: asyncio.Task[None] | None = None

    def resize(self, columns: int, rows: int) -> None:
        """Only the newest size counts."""
        self._size = (columns, rows)
        if self._sizes is not None and (self._resizing is None or self._resizing.done()):
            self._resizing = asyncio.create_task(self._send_sizes(self._sizes), name="resize")

    async def _send_sizes(self, stream: Stream) -> None:
        with contextlib.suppress(ConnectionError):
            while self._size is not None:
                (columns, rows), self._size = self._size, None
                await stream.write(json.dumps({"Width": columns, "Height": rows}).encode() + b"\n")

    async def wait(self) -> int:
        """Raises RuntimeFailure if the command could not be run, or nobody knows how it ended."""
        text = b""
        while len(text) < _STATUS_SIZE_BYTES_MAX and (data := await self._status.read()):
            text += data
        return exit_code(text)

    async def close(self) -> None:
        if self._resizing is not None:
            self._resizing.cancel()
            await asyncio.gather(self._resizing, return_exceptions=True)
        if self.stdin is not None:
            await self.stdin.stop()
        await self._connection.close()


def exit_code(text: bytes) -> int:
    """From the status at the end of a command, as of v4.channel.k8s.io. Raises RuntimeFailure."""
    try:
        status: dict[str, Any] = json.loads(text)
    except ValueError:
        raise RuntimeFailure("ExecFailed", "the runtime did not tell how it ended") from None
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode" and str(cause.get("message")).isdigit():
            return int(cause["message"])
    message = str(status.get("message") or "the command failed")
    for said in _SAID_AGAIN:
        message = message.removeprefix(said)
    raise RuntimeFailure("ExecFailed", message)


async def command(network: Network, url: str, wanted: Wanted) -> RemoteCommand:
    """Raises RuntimeFailure."""
    connection = await connect(network, url, COMMAND_PROTOCOL)
    names = ["error"]
    names += [name for name in ("stdin", "stdout", "stderr") if getattr(wanted, name)]
    names += ["resize"] if wanted.tty else []
    try:
        streams = {name: await connection.open({"streamtype": name}) for name in names}
    except ConnectionError as error:
        await connection.close()
        raise RuntimeFailure("ExecFailed", f"the runtime's streaming server: {error}") from error
    return RemoteCommand(connection, streams)
