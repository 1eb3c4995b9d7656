"""The latency objective of Kubernetes: p99 <= 1 s for writes and single reads, under steady load.

usage: scripts/bench objective [--pods 10000] [--rate 1000] [--watchers 10] [--seconds 30]

10,000 pods, 1,000 status patches a second, ten watches of all pods; beside them reads of single
pods, creations and deletions. The load is open: a request is sent when it is due whether or not
those before it were answered, and its latency counts from when it was due. One API server, three
members of the store, TLS with client certificates, RBAC on; all on this machine, load included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count

import uvloop
from etcd import resident_bytes
from figures import load_of
from http1 import Http1, run_all
from pods import NAMESPACE, PODS, Requests, pod
from watchers import compile_reader, watching

from cluster.client import ClientConfig
from cluster.faults.servers.processes import ServerProcesses

LINKS = 64
OBJECTIVE_S = 1.0
READS_PER_S, CREATES_PER_S = 100.0, 20.0


class Stream:
    """Requests of one kind, due at a rate."""

    def __init__(self, name: str, rate: float, requests: Iterator[bytes], expected: int) -> None:
        self.name, self.rate, self.expected = name, rate, expected
        self.requests = requests
        self.latencies_s: list[float] = []


class Bench:
    def __init__(self, folder: pathlib.Path, options: argparse.Namespace) -> None:
        self._folder, self._options = folder, options
        self._servers = ServerProcesses(folder, servers=1)
        self._user = self._servers.user("bench", ["system:masters"])
        self._host, _, self._port = self._servers.addresses["a0"].partition(":")
        self._requests = Requests(self._host)
        self._names = [f"pod-{number:05d}" for number in range(options.pods)]
        self._free: asyncio.Queue[Http1] = asyncio.Queue()

    async def run(self) -> bool:
        """Whether the objective is met."""
        compile_reader(self._folder)
        try:
            self._servers.store.start()
            self._servers.start()
            await self._servers.ready()
            links = await self._connect()
            await self._prepare(links)
            for link in links:
                self._free.put_nowait(link)
            where = (self._folder, self._host, self._port, self._user)
            async with watching(*where, f"{PODS}?watch=1", self._options.watchers) as reader:
                await reader.wait(self._options.watchers * self._options.pods)
                seen = reader.events
                streams = self._streams()
                begun_s = time.perf_counter()
                await asyncio.gather(*map(self._play, streams))
                took_s = time.perf_counter() - begun_s
                return self._tell(streams, (reader.events - seen) / took_s)
        finally:
            self._servers.stop()

    async def _connect(self) -> list[Http1]:
        context = ClientConfig.from_dict({"servers": ["https://x"], **self._user}).tls()
        assert isinstance(context, ssl.SSLContext)
        return [await Http1.connect(self._host, int(self._port), context) for _ in range(LINKS)]

    async def _prepare(self, links: list[Http1]) -> None:
        admin = self._servers.admin()
        await admin.create("namespaces", {"metadata": {"name": NAMESPACE}})
        await admin.create("serviceaccounts", {"metadata": {"name": "default"}}, NAMESPACE)
        await admin.close()
        creates = (self._requests.of("POST", PODS, pod(name)) for name in self._names)
        await run_all(links, creates, 201)

    def _streams(self) -> list[Stream]:
        of = self._requests.of
        names = self._names
        patch = self._requests.status_patch
        patches = (patch(names[n % len(names)], n) for n in count())
        gets = (of("GET", f"{PODS}/{names[7 * n % len(names)]}") for n in count())
        more = (of("POST", PODS, pod(f"more-{n}")) for n in count())
        return [
            Stream("status patches", self._options.rate, patches, 200),
            Stream("single reads", READS_PER_S, gets, 200),
            Stream("creates", CREATES_PER_S, more, 201),
        ]

    async def _play(self, stream: Stream) -> None:
        begun_s = time.perf_counter()
        sent: set[asyncio.Task[None]] = set()
        for number in range(int(stream.rate * self._options.seconds)):
            due_s = begun_s + number / stream.rate
            if (wait_s := due_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            task = asyncio.create_task(self._send(stream, next(stream.requests), due_s))
            sent.add(task)
            task.add_done_callback(sent.discard)
        await asyncio.gather(*sent)

    async def _send(self, stream: Stream, request: bytes, due_s: float) -> None:
        link = await self._free.get()
        status, body = await link.call(request)
        if status != stream.expected:
            raise ValueError(f"{stream.name}: {status}: {body[:300]!r}")
        stream.latencies_s.append(time.perf_counter() - due_s)
        self._free.put_nowait(link)

    def _tell(self, streams: list[Stream], deliveries_per_s: float) -> bool:
        met = True
        for stream in streams:
            load = load_of(stream.latencies_s, self._options.seconds)
            met = met and load.p99_ms <= OBJECTIVE_S * 1e3
            figure = {
                "figure": f"objective: {stream.name}",
                "per_s": round(load.per_s, 1),
                "p50_ms": round(load.p50_ms, 1),
                "p99_ms": round(load.p99_ms, 1),
                "max_ms": round(max(stream.latencies_s) * 1e3, 1),
            }
            print(json.dumps(figure), flush=True)
        figure = {
            "figure": "objective: p99 <= 1 s",
            "met": met,
            "pods": self._options.pods,
            "watchers": self._options.watchers,
            "deliveries_per_s": round(deliveries_per_s),
            "memory_mb": round(resident_bytes(self._servers.pid("a0")) / 1e6),
        }
        print(json.dumps(figure), flush=True)
        return met


def main() -> int:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1000.0, help="status patches a second")
    parser.add_argument("--watchers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    uvloop.install()
    with tempfile.TemporaryDirectory(prefix="rk-") as folder:
        return int(not asyncio.run(Bench(pathlib.Path(folder), options).run()))


if __name__ == "__main__":
    sys.exit(main())
