"""Who is attached to a container: its output goes to all of them, their input to its process.

A client connects to `FOLDER/attach.sock` and sends messages: kind (1 byte), length (4), payload.
The first is HELLO with flags of what it wants. A client that reads slowly slows the container
down, as a terminal would; one that has read nothing for a while is dropped.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable

from cluster.kubelet.runtimes.helpers.polling import Poller

STDIN, STDOUT, STDERR, RESIZE, STDIN_END, HELLO = 0, 1, 2, 4, 5, 6
SOCKET = "attach.sock"
_HEAD = struct.Struct("!BI")
_PENDING_BYTES_MAX = 1 << 20
_MESSAGE_BYTES_MAX = 1 << 20
_READ_SIZE_BYTES = 65536
_CLIENTS_MAX = 64
_STUCK_S = 5.0


def message(kind: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(payload)) + payload


class Messages:
    """Cuts a byte stream into messages. ValueError for one that is too large."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        self._held += data
        found = []
        while len(self._held) >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._held)
            if size > _MESSAGE_BYTES_MAX:
                raise ValueError(f"a message of {size} bytes")
            end = _HEAD.size + size
            if len(self._held) < end:
                break
            found.append((kind, bytes(self._held[_HEAD.size : end])))
            del self._held[:end]
        return found


class StandardInput:
    """The writing end of the process's input; what it does not read yet is held."""

    def __init__(self, poller: Poller, descriptor: int, once: bool) -> None:
        os.set_blocking(descriptor, False)
        self._poller, self._descriptor, self._once = poller, descriptor, once
        self._pending = bytearray()
        self._ending = False
        self.closed = False
        self.on_space: Callable[[], None] = lambda: None

    @property
    def full(self) -> bool:
        return len(self._pending) > _READ_SIZE_BYTES

    def write(self, data: bytes) -> None:
        if not self.closed and not self._ending:
            self._pending += data
            self._flush()

    def client_ended(self) -> None:
        """Who was attached sends no more: with stdinOnce that ends the input for good."""
        if self._once:
            self._ending = True
            self._flush()

    def _flush(self) -> None:
        while self._pending and not self.closed:
            try:
                del self._pending[: os.write(self._descriptor, self._pending)]
            except BlockingIOError:
                self._poller.watch(self._descriptor, select.POLLOUT, lambda _: self._flush())
                return
            except OSError:  # nobody reads it any more
                self._pending.clear()
                self.close()
        if not self.closed:
            self._poller.unwatch(self._descriptor)
            if self._ending:
                self.close()
        self.on_space()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._poller.unwatch(self._descriptor)
            os.close(self._descriptor)


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.messages = Messages()
        self.pending = bytearray()
        self.wants = 0
        self.moved_s = time.monotonic()

    def hears(self, kind: int) -> bool:
        return bool(self.wants & 1 << kind)


class Attachments:
    def __init__(
        self,
        poller: Poller,
        folder: str,
        stdin: StandardInput | None,
        resize: Callable[[int, int], None],
    ) -> None:
        self._poller, self._stdin, self._resize = poller, stdin, resize
        self._clients: dict[int, _Client] = {}
        self._listener = _listen(folder)
        poller.watch(self._listener.fileno(), select.POLLIN, self._accept)
        if stdin is not None:
            stdin.on_space = self._watch_all

    @property
    def full(self) -> bool:
        """Somebody has so much unread that no more output should be taken."""
        return any(len(c.pending) > _PENDING_BYTES_MAX for c in self._clients.values())

    @property
    def unsent(self) -> bool:
        return any(c.pending for c in self._clients.values())

    def _accept(self, _events: int) -> None:
        connection, _ = self._listener.accept()
        if len(self._clients) >= _CLIENTS_MAX:
            connection.close()
            return
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        self._watch(client)

    def _watch_all(self) -> None:
        for client in self._clients.values():
            self._watch(client)

    def _watch(self, client: _Client) -> None:
        reads = self._stdin is None or not self._stdin.full
        events = (select.POLLIN if reads else 0) | (select.POLLOUT if client.pending else 0)
        descriptor = client.connection.fileno()
        self._poller.watch(descriptor, events, lambda found: self._serve(client, found))

    def _serve(self, client: _Client, events: int) -> None:
        if events & select.POLLOUT:
            self._send(client)
        if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._receive(client)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.connection.recv(_READ_SIZE_BYTES)
            found = client.messages.feed(data)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            data, found = b"", []
        for kind, payload in found:
            self._handle(client, kind, payload)
        if not data:
            self._drop(client)

    def _handle(self, client: _Client, kind: int, payload: bytes) -> None:
        if kind == HELLO and payload:
            client.wants = payload[0]
        elif kind == RESIZE and len(payload) == 4:
            self._resize(*struct.unpack("!HH", payload))
        elif self._stdin is not None and client.hears(STDIN):
            if kind == STDIN:
                self._stdin.write(payload)
                if self._stdin.full:
                    self._watch_all()
            elif kind == STDIN_END:
                client.wants &= ~(1 << STDIN)
                self._stdin.client_ended()

    def output(self, kind: int, data: bytes) -> None:
        """Pass on what the container has written."""
        for client in list(self._clients.values()):
            if client.hears(kind):
                if not client.pending:
                    client.moved_s = time.monotonic()
                client.pending += message(kind, data)
                self._send(client)

    def _send(self, client: _Client) -> None:
        try:
            while client.pending:
                del client.pending[: client.connection.send(client.pending)]
                client.moved_s = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        self._watch(client)

    def drop_stuck(self) -> None:
        """Who has read nothing for a while must not hold the container up."""
        now_s = time.monotonic()
        for client in list(self._clients.values()):
            if client.pending and now_s - client.moved_s > _STUCK_S:
                self._drop(client)

    def _drop(self, client: _Client) -> None:
        descriptor = client.connection.fileno()
        if self._clients.pop(descriptor, None) is None:
            return
        self._poller.unwatch(descriptor)
        client.connection.close()
        if self._stdin is not None and client.hears(STDIN):
            self._stdin.client_ended()

    def close(self) -> None:
        """The end of the connection tells clients that the container has ended."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._poller.unwatch(self._listener.fileno())
        self._listener.close()


def _listen(folder: str) -> socket.socket:
    """By a relative name: the whole path may be longer than an address can be."""
    listener = socket.socket(socket.AF_UNIX)
    os.chdir(folder)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET)
        listener.bind(SOCKET)
        os.chmod(SOCKET, 0o600)
    finally:
        os.chdir("/")
    listener.listen(8)
    listener.setblocking(False)
    return listener
