"""Fan-out of one API server: events a second that its watchers receive, and what they cost.

usage: scripts/bench watch [--seconds 5] [--watchers 10 100 1000] [--members 3]

TLS is on. The watchers are connections of one process in C, which decrypts and counts lines, so
that the server is what is measured. Pods are written to the store as another API server does it
("written elsewhere": this server only spreads them), or their statuses are patched at this server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pathlib
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from etcd import resident_bytes
from figures import tell
from http1 import Http1
from pods import NAMESPACE, PODS, Requests, pod
from watchers import Reader, compile_reader, watching

from actors.seams import system_seams
from cluster.client import ClientConfig
from cluster.faults.servers.processes import ServerProcesses
from cluster.storage import encoding
from raftstore.client import StoreClient
from raftstore.types import Put

KNOWN = 13_100.0
"""Deliveries a second of kube-apiserver 1.20 to 100 watchers."""
WATCHED = 100
WRITERS = 64
AHEAD = 200
"""Events written that not every watcher has yet; the server keeps 4096 for those that lag."""


class Bench:
    def __init__(self, folder: pathlib.Path, members: int, duration_s: float) -> None:
        self._folder, self._duration_s = folder, duration_s
        self._servers = ServerProcesses(folder, servers=1, members=members)
        self._user = self._servers.user("bench", ["system:masters"])
        self._host, _, self._port = self._servers.addresses["a0"].partition(":")
        self._requests = Requests(self._host)
        self._count = 0

    async def run(self, watchers: list[int]) -> None:
        compile_reader(self._folder)
        try:
            self._servers.store.start()
            self._servers.start()
            await self._servers.ready()
            await self._prepare()
            for number in watchers:
                await self._elsewhere(number)
            for number in watchers:
                await self._patches(number)
        finally:
            self._servers.stop()

    async def _prepare(self) -> None:
        admin = self._servers.admin()
        await admin.create("namespaces", {"metadata": {"name": NAMESPACE}})
        account = {"metadata": {"name": "default"}}
        await admin.create("serviceaccounts", account, NAMESPACE)
        for number in range(WATCHED):
            await admin.create("pods", pod(f"pod-{number}"), NAMESPACE)
        listed = await admin.list("pods", NAMESPACE)
        self._pods: list[dict[str, Any]] = listed["items"]
        await admin.close()

    @contextlib.asynccontextmanager
    async def _watchers(self, number: int) -> AsyncIterator[Reader]:
        where = (self._folder, self._host, self._port, self._user)
        async with watching(*where, f"{PODS}?watch=1&resourceVersion=0", number) as reader:
            await reader.wait(number * WATCHED)
            yield reader

    # ---- loads

    async def _elsewhere(self, watchers: int) -> None:
        store = StoreClient(self._servers.store.endpoints)
        await store.start(system_seams())

        async def write(written: int) -> None:
            obj = self._pods[written % WATCHED]
            obj["status"]["message"] = f"written {written}"
            key = f"/registry/pods/{NAMESPACE}/{obj['metadata']['name']}"
            await store.execute(Put(key.encode(), encoding.encode(obj)))

        async with self._watchers(watchers) as reader:
            await self._measure("written elsewhere", watchers, reader, write)
        await store.stop()

    async def _patches(self, watchers: int) -> None:
        context = ClientConfig.from_dict({"servers": ["https://x"], **self._user}).tls()
        assert isinstance(context, ssl.SSLContext)
        links = [await Http1.connect(self._host, int(self._port), context) for _ in range(WRITERS)]
        free = asyncio.Queue[Http1]()
        for link in links:
            free.put_nowait(link)

        async def write(written: int) -> None:
            link = await free.get()
            name = self._pods[written % WATCHED]["metadata"]["name"]
            request = self._requests.status_patch(name, written)
            status, body = await link.call(request)
            if status != 200:
                raise ValueError(f"{status}: {body[:300]!r}")
            free.put_nowait(link)

        async with self._watchers(watchers) as reader:
            await self._measure("patched here", watchers, reader, write)
        for link in links:
            link.close()

    async def _measure(self, how: str, watchers: int, reader: Reader, write: Any) -> None:
        begun, bytes_before = reader.events, reader.bytes
        used_s, start_s = self._cpu_s(), time.perf_counter()
        written = 0

        async def work() -> None:
            nonlocal written
            while time.perf_counter() - start_s < self._duration_s:
                if written - (reader.events - begun) / watchers > AHEAD:
                    reader.changed.clear()
                    await reader.changed.wait()
                    continue
                written += 1
                await write(self._count + written)

        await asyncio.gather(*(work() for _ in range(WRITERS)))
        self._count += written
        await reader.wait(begun + written * watchers)
        took_s = time.perf_counter() - start_s
        delivered = reader.events - begun
        facts = {
            "watchers": watchers,
            "written_per_s": round(written / took_s),
            "bytes_per_event": round((reader.bytes - bytes_before) / delivered),
            "cpu_us_per_delivery": round((self._cpu_s() - used_s) * 1e6 / delivered, 2),
            "memory_mb": round(resident_bytes(self._servers.pid("a0")) / 1e6),
        }
        tell(f"watch deliveries, {how}", "per_s", delivered / took_s, KNOWN, **facts)

    def _cpu_s(self) -> float:
        """What the API server has used so far."""
        fields = pathlib.Path(f"/proc/{self._servers.pid('a0')}/stat").read_text().split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--watchers", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--members", type=int, default=3)
    options = parser.parse_args()
    uvloop.install()
    with tempfile.TemporaryDirectory(prefix="rk-") as folder:
        bench = Bench(pathlib.Path(folder), options.members, options.seconds)
        asyncio.run(bench.run(options.watchers))


if __name__ == "__main__":
    main()
