"""Clients of real members whose calls are recorded, and what the checkers say about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import groupby
from typing import Any

from actors.faults.network import CuttableNetwork
from actors.seams import system_seams
from actors.seams.network import Network, SystemNetwork
from actors.seams.randomness import seeded_randomness
from raftstore import wire
from raftstore.client import StoreClient
from raftstore.connection import ConnectionLost, ServerConnection, dial
from raftstore.errors import NotLeader, StoreError, Unavailable
from raftstore.simulation.operations import KEYS, PREFIX
from raftstore.simulation.workload import Workload
from raftstore.types import Event, Range, WatchBatch
from raftstore.verify import hashes, linearizability, revisions, watches
from raftstore.verify.history import Applied, Call

CLIENTS = 6
THINK_S = (0.0, 0.02)
CALL_TIMEOUT_S = 8.0
PINNED_EVERY_S = 0.02
PINNED = -1
"""The number of the client that stays with one member."""
MAX_PINNED = 256
SETTLE_S = 30.0


class Recording:
    """Load on a store until `stop`; `check` tells what no order of its calls explains."""

    def __init__(self, endpoints: Sequence[str], seed: str, pinned: bool = False) -> None:
        """`pinned`: also read at each member, whoever leads, as stubborn clients do."""
        self.workload = Workload(time.monotonic, THINK_S)
        self.network = CuttableNetwork()
        """Of every second client, so that a cut can divide them."""
        self._endpoints, self._seed, self._pinned = list(endpoints), seed, pinned
        self._clients: list[StoreClient] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._reads: set[asyncio.Task[None]] = set()
        self._batches: list[WatchBatch] = []

    # ---- load

    async def start(self) -> None:
        """Returns once something was acknowledged."""
        for number in range(CLIENTS):
            client = await self._add_client(self.network if number % 2 else SystemNetwork())
            self._spawn(self.workload.run(number, client, self._randomness(f"c{number}")))
        for number in range(2):
            client, randomness = self._clients[number], self._randomness(f"w{number}")
            self._spawn(self.workload.watch(number, client, randomness))
        self._spawn(self._observe(await self._add_client(SystemNetwork())))
        for endpoint in self._endpoints if self._pinned else ():
            self._spawn(self._read_at(endpoint))
        await self.progress(time.monotonic())

    async def stop(self) -> None:
        for task in (*self._tasks, *self._reads):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._reads, return_exceptions=True)
        for client in self._clients:
            await client.stop()

    async def progress(self, since_s: float, timeout_s: float = SETTLE_S) -> None:
        """Until a write that began after `since_s` is acknowledged. Raises TimeoutError."""
        seen = len(self.workload.calls)
        async with asyncio.timeout(timeout_s):
            while self.resumed_s(since_s, max(0, seen - 1000)) is None:
                self.raise_errors()
                await asyncio.sleep(0.01)

    def resumed_s(self, since_s: float, first: int = 0) -> float | None:
        """How long after `since_s` the first write that began after it was acknowledged."""
        answers = [
            call.returned_s - since_s
            for call in self.workload.calls[first:]
            if call.outcome == "ok" and call.invoked_s >= since_s and not isinstance(call.op, Range)
        ]
        return min(answers, default=None)

    def raise_errors(self) -> None:
        """What ended a client that should never end."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _add_client(self, network: Network) -> StoreClient:
        client = StoreClient(self._endpoints, timeout_s=CALL_TIMEOUT_S)
        await client.start(replace(system_seams(), network=network))
        self._clients.append(client)
        return client

    def _randomness(self, name: str) -> Any:
        return seeded_randomness(f"{self._seed}/{name}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _observe(self, client: StoreClient) -> None:
        """Every revision, as it happens."""
        async with aclosing(client.watch(b"\0", b"\0", start_revision=2)) as batches:
            async for batch in batches:
                self._batches.append(batch)

    # ---- readers that stay

    async def _read_at(self, endpoint: str) -> None:
        """Linearizable reads at one member, also while it is silent: it may answer them later."""
        randomness = self._randomness(endpoint)
        while True:
            try:
                connection = await dial(system_seams(), endpoint, None)
            except (OSError, TimeoutError):
                await asyncio.sleep(PINNED_EVERY_S)
                continue
            while not connection.lost.is_set():
                if len(self._reads) < MAX_PINNED * len(self._endpoints):
                    read = asyncio.create_task(self._read(connection, randomness.choice(KEYS)))
                    self._reads.add(read)
                    read.add_done_callback(self._reads.discard)
                await asyncio.sleep(PINNED_EVERY_S)

    async def _read(self, connection: ServerConnection, key: bytes) -> None:
        call = Call(PINNED, Range(key), time.monotonic())
        self.workload.calls.append(call)
        try:
            question = wire.pack(wire.encode_op(call.op))
            answer = await connection.request("read", [question, False])
            call.result, call.outcome = wire.decode_result(call.op, answer), "ok"
        except (ConnectionLost, Unavailable, NotLeader):
            call.outcome = "failed"
        except StoreError as error:
            self.workload.broken.append(f"{call} raised {error!r}")
        call.returned_s = time.monotonic()

    # ---- what was seen

    async def check(self) -> list[str]:
        """After `stop`, with all members up: everything that is wrong, in words."""
        applied = Applied()
        _add(applied, "observer", self._batches)
        client = await self._add_client(SystemNetwork())
        try:
            newest = (await client.range(b"\0", b"\0", count_only=True)).revision
            found = await self._members(applied, newest, client)
        finally:
            await client.stop()
        calls = self.workload.calls
        found += self.workload.broken + revisions.check(calls, applied, _is_not_of_the_workload)
        found += linearizability.check(calls, KEYS)
        for watched in self.workload.watches:
            found += watches.check(watched, applied, compacted_revision=0)
        return found

    async def _members(self, applied: Applied, newest: int, client: StoreClient) -> list[str]:
        """Have every member tell all that it applied; they agree on it and on their hashes."""
        told = []
        for endpoint in self._endpoints:
            _add(applied, endpoint, await _history(endpoint, newest))
            async with client.member(endpoint, SETTLE_S) as member:
                told.append((endpoint, await member.hash_kv(newest)))
        return hashes.check(told)


async def _history(endpoint: str, newest: int) -> list[WatchBatch]:
    """All revisions as one member knows them, once it knows `newest`."""
    connection = await dial(system_seams(), endpoint, None)
    batches: list[WatchBatch] = []
    try:
        async with asyncio.timeout(SETTLE_S):
            while not batches or batches[-1].revision < newest:
                start = batches[-1].revision + 1 if batches else 2
                stream = connection.stream("watch", (b"\0", b"\0", start, False, []))
                with suppress(ConnectionLost):  # more came than was taken: go on from there
                    async with aclosing(stream) as answers:
                        async for packed in answers:
                            batches.append(wire.decode_batch(packed))
                            if batches[-1].revision >= newest:
                                break
    finally:
        connection.abort()
    return batches


def _is_not_of_the_workload(revision: int, events: Sequence[Event]) -> bool:
    return not any(event.kv.key.startswith(PREFIX) for event in events)


def _add(applied: Applied, source: str, batches: Sequence[WatchBatch]) -> None:
    for batch in batches:
        for revision, events in groupby(batch.events, lambda event: event.kv.mod_revision):
            applied.add(source, revision, list(events), float("inf"))
