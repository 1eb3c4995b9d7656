"""The supervisor's control socket: one JSON request and one JSON answer a connection.

It spares the CLI a Ray driver (1.4 s and a raylet on the same machine) for `kill` and `down`.
Verbs: `picture`, `kill {name, hold_s}`, `configure {name, settings}`, `stop`. Only the owner of the
cluster's folder can connect.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from actors.errors import ActorError, HostUnavailable

REQUEST_SIZE_MAX = 64 * 1024
Handler = Callable[[dict[str, Any]], Awaitable[Any]]


def socket_path(folder: str) -> str:
    return os.path.join(folder, "supervisor.sock")


async def serve(folder: str, handler: Handler) -> asyncio.Server:
    """Answer requests with `handler`; ActorError is told to the caller as text."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            reply = {"result": await handler(request)}
        except (ActorError, ValueError) as error:
            reply = {"error": str(error)}
        writer.write(json.dumps(reply).encode() + b"\n")
        await writer.drain()
        writer.close()

    path = socket_path(folder)
    if os.path.exists(path):
        os.unlink(path)
    server = await asyncio.start_unix_server(answer, path, limit=REQUEST_SIZE_MAX)
    os.chmod(path, 0o600)
    return server


def call(folder: str, request: dict[str, Any], *, timeout_s: float = 30.0) -> Any:
    """Ask the supervisor of the cluster in `folder`. Raises HostUnavailable or ActorError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(socket_path(folder))
            connection.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(connection.makefile("rb").readline() or b"{}")
        except (OSError, ValueError) as error:
            raise HostUnavailable(f"the supervisor does not answer: {error}") from error
    if "error" in reply:
        raise ActorError(reply["error"])
    return reply.get("result")
