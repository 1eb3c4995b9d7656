"""Our three members as processes, and the same loads through the native client.

The load generator is Python and runs beside the members: what it costs counts against us.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from etcd import CONNECTIONS, WATCH_CONNECTIONS, resident_bytes
from figures import Load, load_of

from actors.seams import system_seams
from raftstore.client import StoreClient
from raftstore.faults.processes import StoreProcesses, free_addresses
from raftstore.types import Compare, Put

KEYS = 10_000
CLIENTS_PER_CONNECTION = 64

Call = Callable[[StoreClient, bytes], Awaitable[Any]]


class Own:
    def __init__(self, folder: pathlib.Path) -> None:
        self._store = StoreProcesses(folder, quota_bytes=8 << 30)
        self.gateways = free_addresses(3)
        pairs = zip(self._store.names, self._store.endpoints, self.gateways, strict=True)
        for name, member, address in pairs:
            gateway = {"address": address, "endpoints": self._store.endpoints, "member": member}
            url = f"http://{address}"
            self._store.configure(name, gateway={**gateway, "tls": None}, client_urls=[url])

    # ---- processes

    async def start(self) -> None:
        self._store.start()
        async with self._clients(1) as [client]:
            await client.put(b"bench/000001", os.urandom(256))

    def stop(self) -> None:
        self._store.stop()

    def memory_bytes(self) -> int:
        return sum(resident_bytes(self._store.pid(name)) for name in self._store.names)

    async def revision(self) -> int:
        async with self._clients(1) as [client]:
            return (await client.range(b"bench/000001")).revision

    @asynccontextmanager
    async def _clients(self, number: int) -> AsyncGenerator[list[StoreClient], None]:
        clients = [StoreClient(self._store.endpoints, timeout_s=120.0) for _ in range(number)]
        for client in clients:
            await client.start(system_seams())
        await asyncio.gather(*(client.range(b"a") for client in clients))
        yield clients
        for client in clients:
            await client.stop()

    # ---- loads

    async def put(self, clients: int, duration_s: float, value_bytes: int) -> Load:
        value = os.urandom(value_bytes)
        return await self._load(clients, duration_s, lambda client, key: client.put(key, value))

    async def read(self, clients: int, duration_s: float, serializable: bool) -> Load:
        def read(client: StoreClient, key: bytes) -> Awaitable[Any]:
            return client.range(key, serializable=serializable)

        return await self._load(clients, duration_s, read)

    async def txn(self, clients: int, duration_s: float, value_bytes: int) -> Load:
        value = os.urandom(value_bytes)

        def txn(client: StoreClient, key: bytes) -> Awaitable[Any]:
            return client.txn([Compare(key, "version", ">", 0)], [Put(key, value)])

        return await self._load(clients, duration_s, txn)

    async def _load(self, clients: int, duration_s: float, call: Call) -> Load:
        """Each client has one request open at a time, and its own keys."""
        latencies_s: list[float] = []
        connections = min(CONNECTIONS, -(-clients // CLIENTS_PER_CONNECTION))
        async with self._clients(connections) as pool:
            end_s = time.perf_counter() + duration_s

            async def work(number: int) -> None:
                client, count = pool[number % connections], number
                while (start_s := time.perf_counter()) < end_s:
                    await call(client, b"bench/%06d" % (count % KEYS))
                    latencies_s.append(time.perf_counter() - start_s)
                    count += clients

            await asyncio.gather(*map(work, range(clients)))
        return load_of(latencies_s, duration_s)

    async def watch(self, watchers: int, duration_s: float) -> float:
        counted = [0, 0]

        async def follow(client: StoreClient) -> None:
            async with aclosing(client.watch(b"bench/000001")) as batches:
                async for batch in batches:
                    counted[0] += not batch.events
                    counted[1] += len(batch.events)

        async with self._clients(1 + min(watchers, WATCH_CONNECTIONS)) as [writer, *clients]:
            chosen = (clients[count % len(clients)] for count in range(watchers))
            following = [asyncio.create_task(follow(client)) for client in chosen]
            while counted[0] < watchers:
                await asyncio.sleep(0.05)
            end_s, value = time.perf_counter() + duration_s, os.urandom(256)
            while time.perf_counter() < end_s:
                await writer.put(b"bench/000001", value)
            delivered = counted[1]
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
        return delivered / duration_s

    async def keep_alive(self, clients: int, duration_s: float) -> Load:
        latencies_s: list[float] = []
        async with self._clients(1) as [client]:
            leases = [await client.lease_grant(600) for _ in range(clients)]
            end_s = time.perf_counter() + duration_s

            async def keep(lease_id: int) -> None:
                while (start_s := time.perf_counter()) < end_s:
                    await client.lease_keep_alive(lease_id)
                    latencies_s.append(time.perf_counter() - start_s)

            await asyncio.gather(*(keep(lease.id) for lease in leases))
        return load_of(latencies_s, duration_s)

    async def fill(self, keys: int, value_bytes: int, batch: int) -> None:
        open_calls = asyncio.Semaphore(32)

        async def put(client: StoreClient, start: int) -> None:
            try:
                await client.txn(
                    [],
                    [
                        Put(b"fill/%08d" % key, os.urandom(value_bytes))
                        for key in range(start, min(keys, start + batch))
                    ],
                )
            finally:
                open_calls.release()

        async with self._clients(1) as [client], asyncio.TaskGroup() as group:
            for start in range(0, keys, batch):
                await open_calls.acquire()
                group.create_task(put(client, start))
