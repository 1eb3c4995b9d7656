"""The kubelet's end of the helper `launcher`: one for all containers, started when it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable

Spawn = Callable[[int], Awaitable[asyncio.subprocess.Process]]
"""Starts the helper with this descriptor as its standard input."""

TIMEOUT_S = 30.0
_READ_SIZE_BYTES = 65536
_FULL_S = 0.01


class Launcher:
    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None

    async def launch(self, folder: str) -> str:
        """Start the container of the folder: "", or why its program could not be started.

        A helper that was killed is replaced; the launch that it was at is lost.
        """
        try:
            said = await asyncio.wait_for(self._answer(folder), TIMEOUT_S)
        except TimeoutError:
            return f"the container's launcher did not answer in {TIMEOUT_S:.0f} s"
        except OSError as failure:
            return f"the launcher of containers cannot be started: {failure}"
        try:
            return str(json.loads(said)["error"])
        except ValueError:
            return f"the container's launcher failed: {said.decode(errors='replace')[-2000:]}"

    async def _answer(self, folder: str) -> bytes:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            await self._send(os.fsencode(folder), theirs)
            theirs.close()
            parts = []
            while part := await asyncio.get_running_loop().sock_recv(ours, _READ_SIZE_BYTES):
                parts.append(part)
            return b"".join(parts)
        finally:
            theirs.close()
            ours.close()

    async def _send(self, folder: bytes, answer: socket.socket) -> None:
        while True:
            control = await self._ready()
            try:
                socket.send_fds(control, [folder], [answer.fileno()])
                return
            except BlockingIOError:  # many at once
                await asyncio.sleep(_FULL_S)
            except (BrokenPipeError, ConnectionResetError):
                await self.close()

    async def _ready(self) -> socket.socket:
        async with self._starting:
            if self._control is None:
                ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
                ours.setblocking(False)
                with theirs:
                    self._process = await self._spawn(theirs.fileno())
                self._control = ours
            return self._control

    async def close(self) -> None:
        """The helper ends; what it has launched goes on."""
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
