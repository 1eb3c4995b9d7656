"""Between a client's streams and those of a command: both ways, until either ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from actors.seams.clock import Clock
from cluster.kubelet.runtimes.base import RuntimeFailure
from cluster.kubelet.runtimes.interactive import Output, Running
from cluster.kubelet.streams import statuses
from cluster.kubelet.streams.client import ClientLeft, CommandClient

STREAMS_TIMEOUT_S = 30.0
PING_S = 10.0
GOODBYE_S = 600.0
"""For a client that reads slowly what was said last."""


async def serve(
    client: CommandClient, start: Callable[[], Awaitable[Running]], clock: Clock, what: str
) -> None:
    """Run to the end and tell the client. `what` fails, if it does, in the message for it."""
    async with asyncio.timeout(STREAMS_TIMEOUT_S):
        await client.opened()
    try:
        running = await start()
    except RuntimeFailure as error:
        await _goodbye(client, statuses.failed(f"error {what}: {error.message}"))
        return
    has_input = running.stdin is not None
    try:
        status = statuses.exited(await carry(client, running, clock))
    except RuntimeFailure as error:  # some runtimes can tell only at the end
        status = statuses.failed(f"error {what}: {error.message}")
    finally:
        await running.close()
    await _goodbye(client, status, has_input=has_input)


async def _goodbye(
    client: CommandClient, status: statuses.Status, *, has_input: bool = False
) -> None:
    """The client closes the connection: were we the first, it might lose what is on its way."""
    discarding = asyncio.create_task(_discard(client)) if has_input else None
    try:
        await client.finish(status)
        async with asyncio.timeout(GOODBYE_S):
            await client.left()
    except TimeoutError:
        return
    finally:
        if discarding is not None:
            discarding.cancel()
            await asyncio.gather(discarding, return_exceptions=True)


async def _discard(client: CommandClient) -> None:
    """What nobody reads must not stop the connection, nor hide its end."""
    while await client.read_input():
        pass


async def carry(client: CommandClient, running: Running, clock: Clock) -> int:
    """The exit code. Raises ClientLeft, ConnectionError."""
    ending: list[Coroutine[Any, Any, Any]] = [running.wait()]
    if running.stdout is not None:
        ending.append(_output(client, running.stdout, error=False))
    if running.stderr is not None:
        ending.append(_output(client, running.stderr, error=True))
    beside = [_sizes(client, running), _pings(client, clock)]
    if running.stdin is not None:
        beside.append(_input(client, running))
    works: list[Coroutine[Any, Any, Any]] = [client.left(), *ending, *beside]
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work) for work in works]
    left, ended = tasks[0], tasks[1 : 1 + len(ending)]
    whole: asyncio.Future[list[Any]] = asyncio.gather(*ended)
    waited: list[asyncio.Future[Any]] = [whole, left]
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not whole.done():
            raise ClientLeft("the client left before the command ended")
        code: int = (await whole)[0]
        return code
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(whole, *tasks, return_exceptions=True)


async def _output(client: CommandClient, source: Output, *, error: bool) -> None:
    while data := await source.read():
        await client.write_output(data, error=error)


async def _input(client: CommandClient, running: Running) -> None:
    """A command that does not read any more does not end because of that."""
    assert running.stdin is not None
    with contextlib.suppress(ConnectionError):
        while data := await client.read_input():
            await running.stdin.write(data)
    running.stdin.close()
    await _discard(client)


async def _sizes(client: CommandClient, running: Running) -> None:
    while (size := await client.next_size()) is not None:
        running.resize(*size)


async def _pings(client: CommandClient, clock: Clock) -> None:
    """A client may go while its input is not being read, and then only writing shows it."""
    with contextlib.suppress(ConnectionError):
        while True:
            await clock.sleep(PING_S)
            await client.ping()
