"""Commands in containers and attached clients, for the process runtime: `interactive.Running`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Sequence

from cluster.kubelet.runtimes.base import RuntimeFailure
from cluster.kubelet.runtimes.descriptors import Sink, Source, readable
from cluster.kubelet.runtimes.helpers import attachments, terminal
from cluster.kubelet.runtimes.interactive import Pieces, Wanted
from cluster.kubelet.runtimes.session_helpers import SessionHelpers

_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 5.0


class Command:
    """A command that the helper `session` runs; `control` closed makes the helper kill it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: socket.socket,
        wanted: Wanted,
        ends: Sequence[int],
    ) -> None:
        self._process, self._control = process, control
        self._master: int | None = None
        self.stdin: Sink | None = None
        self.stdout: Source | None = None
        self.stderr: Source | None = None
        if wanted.tty:
            (self._master,) = ends
            self.stdin, self.stdout = Sink(os.dup(ends[0])), Source(os.dup(ends[0]))
            return
        left = list(ends)
        if wanted.stdin:
            self.stdin = Sink(left.pop(0))
        if wanted.stdout:
            self.stdout = Source(left.pop(0))
        if wanted.stderr:
            self.stderr = Source(left.pop(0))

    def resize(self, columns: int, rows: int) -> None:
        if self._master is not None:
            with contextlib.suppress(OSError):
                terminal.resize(self._master, columns, rows)

    async def wait(self) -> int:
        code = await self._process.wait()
        for source in (self.stdout, self.stderr):
            if source is not None:
                source.finish_soon()
        return code

    async def close(self) -> None:
        self._control.close()
        try:
            await asyncio.wait_for(self._process.wait(), _END_TIMEOUT_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        finally:
            for stream in (self.stdin, self.stdout, self.stderr):
                if stream is not None:
                    stream.close()
            if self._master is not None:
                os.close(self._master)


async def start(
    helpers: SessionHelpers, folder: str, command: Sequence[str], wanted: Wanted
) -> Command:
    """Raises RuntimeFailure if the command cannot be started."""
    helper = await helpers.take()
    order = {"folder": folder, "wanted": wanted.__dict__, "command": list(command)}
    data = json.dumps(order).encode()
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await _send(helper.control, struct.pack("!I", len(data)) + data)
            await readable(helper.control.fileno())
        answer, ends, _, _ = socket.recv_fds(helper.control, 8192, 3)
        error = json.loads(answer)["error"] if answer else "the helper ended"
    except BaseException as failure:
        await helper.end()
        if isinstance(failure, TimeoutError | OSError):
            raise RuntimeFailure("ExecFailed", f"the command did not start: {failure}") from None
        raise
    if error:
        await helper.end()
        raise RuntimeFailure("ExecFailed", error)
    helpers.keep_spare()
    return Command(helper.process, helper.control, wanted, ends)


async def _send(control: socket.socket, data: bytes) -> None:
    sink = Sink(os.dup(control.fileno()))
    try:
        await sink.write(data)
    finally:
        sink.close()


class _AttachedInput:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._end: asyncio.Task[None] | None = None

    async def write(self, data: bytes) -> None:
        await self._sink.write(attachments.message(attachments.STDIN, data))

    def close(self) -> None:
        """The shim decides whether that ends the input of the process (stdinOnce)."""
        if self._end is None:
            self._end = asyncio.create_task(self._say_end(), name="end of input")

    async def _say_end(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._sink.write(attachments.message(attachments.STDIN_END))

    async def stop(self) -> None:
        if self._end is not None:
            self._end.cancel()
            await asyncio.gather(self._end, return_exceptions=True)


class Attachment:
    """A connection to a container's shim."""

    def __init__(self, connection: socket.socket, wanted: Wanted) -> None:
        self._connection = connection
        self._source = Source(os.dup(connection.fileno()))
        self._sink = Sink(os.dup(connection.fileno()))
        self.stdin = _AttachedInput(self._sink) if wanted.stdin else None
        self.stdout = Pieces() if wanted.stdout else None
        self.stderr = Pieces() if wanted.stderr else None
        flags = wanted.stdin << attachments.STDIN | wanted.stdout << attachments.STDOUT
        flags |= wanted.stderr << attachments.STDERR
        connection.send(attachments.message(attachments.HELLO, bytes([flags])))
        self._pump = asyncio.create_task(self._distribute(), name="attached output")

    async def _distribute(self) -> None:
        messages = attachments.Messages()
        queues = {attachments.STDOUT: self.stdout, attachments.STDERR: self.stderr}
        with contextlib.suppress(OSError):
            while data := await self._source.read():
                for kind, payload in messages.feed(data):
                    queue = queues.get(kind)
                    if queue is not None:
                        await queue.put(payload)
        for queue in queues.values():
            if queue is not None:
                await queue.put(b"")

    def resize(self, columns: int, rows: int) -> None:
        """A size that does not fit into the socket now is dropped: a newer one will come."""
        payload = struct.pack("!HH", columns & 0xFFFF, rows & 0xFFFF)
        with contextlib.suppress(OSError):
            self._connection.send(attachments.message(attachments.RESIZE, payload))

    async def wait(self) -> int:
        await asyncio.wait([self._pump])
        return 0

    async def close(self) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        if self.stdin is not None:
            await self.stdin.stop()
        self._source.close()
        self._sink.close()
        self._connection.close()


def attach(folder: str, wanted: Wanted) -> Attachment:
    """Raises RuntimeFailure if the container takes nobody any more."""
    connection = socket.socket(socket.AF_UNIX)
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:  # the whole path may be longer than an address can be
        connection.connect(f"/proc/self/fd/{directory}/{attachments.SOCKET}")
        connection.setblocking(False)
        return Attachment(connection, wanted)
    except OSError as error:
        connection.close()
        text = f"the container cannot be attached to: {error}"
        raise RuntimeFailure("AttachFailed", text) from None
    finally:
        os.close(directory)
