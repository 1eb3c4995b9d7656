"""Our store against a real etcd: three members each, on the same machine and disk, in turn.

usage: scripts/bench store [--seconds 2] [--rounds 3] [--keys 1000000] [SECTION...]

Sections: writes reads txn watch lease etcdctl keys. Figures are medians of rounds; fsync is on.
etcd's requests come from h2load (see etcd.py), ours from the Python client (see own.py).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import pathlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop
from etcd import Etcd, check_perf
from figures import Load, median, tell
from own import Own

from actors import collector

CLIENTS = (1, 64, 1000)
WATCHERS = (1, 100, 1000)
BATCH = 20


class Bench:
    def __init__(self, etcd: Etcd, own: Own, duration_s: float, rounds: int, keys: int) -> None:
        self._etcd, self._own = etcd, own
        self._duration_s, self._rounds, self._keys = duration_s, rounds, keys

    async def writes(self) -> None:
        for size in (256, 1024):
            for clients in CLIENTS:
                await self._compare(f"puts of {size} B", "put", clients, size)

    async def reads(self) -> None:
        for kind, serializable in (("linearizable", False), ("serializable", True)):
            for clients in CLIENTS:
                await self._compare(f"{kind} reads", "read", clients, serializable)

    async def txn(self) -> None:
        for clients in CLIENTS:
            await self._compare("compare and put", "txn", clients, 256)

    async def lease(self) -> None:
        runs = self._etcd.keep_alive, self._own.keep_alive
        await self._compare_in_turn("lease keep-alives", 64, *runs, peer_client="raw HTTP/2")

    async def _compare(self, name: str, kind: str, clients: int, argument: Any) -> None:
        async def peer(clients: int, duration_s: float) -> Load:
            run = getattr(self._etcd, kind)
            load: Load = await asyncio.to_thread(run, clients, duration_s, argument)
            return load

        async def own(clients: int, duration_s: float) -> Load:
            load: Load = await getattr(self._own, kind)(clients, duration_s, argument)
            return load

        await self._compare_in_turn(name, clients, peer, own)

    async def _compare_in_turn(
        self, name: str, clients: int, peer: Any, own: Any, peer_client: str = "h2load"
    ) -> None:
        peers, owns = [], []
        for _ in range(self._rounds):
            peers.append(await peer(clients, self._duration_s))
            owns.append(await own(clients, self._duration_s))
            gc.collect()
        theirs, ours = median(peers), median(owns)
        facts = {"clients": clients, "peer_client": peer_client}
        tell(name, "per_s", ours.per_s, theirs.per_s, **facts)
        tell(f"{name}, median latency", "ms", ours.p50_ms, theirs.p50_ms, **facts)
        tell(f"{name}, p99 latency", "ms", ours.p99_ms, theirs.p99_ms, **facts)

    async def watch(self) -> None:
        for watchers in WATCHERS:
            peers, owns = [], []
            for _ in range(self._rounds):
                peers.append(Load(await self._etcd.watch(watchers, self._duration_s), 0, 0))
                owns.append(Load(await self._own.watch(watchers, self._duration_s), 0, 0))
            rates = median(owns).per_s, median(peers).per_s
            tell("watch deliveries", "per_s", *rates, watchers=watchers, peer_client="raw HTTP/2")

    async def etcdctl(self) -> None:
        """`etcdctl check perf`: limited to 150, 1000 and 8000 writes/s of 1 KiB (s, m, l)."""
        for load, clients in (("s", 50), ("m", 200), ("l", 500)):
            own, passed = await asyncio.to_thread(check_perf, self._own.gateways, load)
            peer, peer_passed = await asyncio.to_thread(check_perf, self._etcd.gateways, load)
            facts = {"clients": clients, "passed": passed, "peer_passed": peer_passed}
            tell(f"etcdctl check perf, load {load}", "per_s", own, peer, **facts)
        native = await self._own.put(500, self._duration_s, 1024)
        facts = {"clients": 500, "peer_client": "etcdctl check perf"}
        tell("puts of 1 KiB, each by its own client", "per_s", native.per_s, peer, **facts)

    async def keys(self) -> None:
        """Memory of many keys in all members, and the time from a power cut to the first read."""
        before = self._own.memory_bytes(), self._etcd.memory_bytes()
        for each in (self._own, self._etcd):
            start_s = time.perf_counter()
            await each.fill(self._keys, 256, BATCH)
            each_took_s = time.perf_counter() - start_s
            name = type(each).__name__.lower()
            print(f"# {name}: {self._keys} keys in {each_took_s:.1f} s", flush=True)
        millions = self._keys / 1e6
        own = (self._own.memory_bytes() - before[0]) / 3 / millions
        peer = (self._etcd.memory_bytes() - before[1]) / 3 / millions
        tell("memory per million keys and member", "MB", own / 1e6, peer / 1e6, value_bytes=256)
        await self._restart()

    async def _restart(self) -> None:
        self._etcd.stop()
        start_s = time.perf_counter()
        await asyncio.to_thread(self._etcd.start)
        peer_s = time.perf_counter() - start_s
        self._etcd.stop()
        self._own.stop()
        start_s = time.perf_counter()
        await self._own.start()
        own_s = time.perf_counter() - start_s
        tell("restart of all members", "s", own_s, peer_s, keys=self._keys)


async def main(sections: Sequence[str], duration_s: float, rounds: int, keys: int) -> None:
    with tempfile.TemporaryDirectory(prefix="rk-bench-") as folder:
        folders = [pathlib.Path(folder) / name for name in ("etcd", "own")]
        for each in folders:
            each.mkdir()
        etcd, own = Etcd(folders[0]), Own(folders[1])
        try:
            await asyncio.to_thread(etcd.start)
            await own.start()
            bench = Bench(etcd, own, duration_s, rounds, keys)
            for section in sections:
                run: Callable[[], Awaitable[None]] = getattr(bench, section)
                await run()
        finally:
            etcd.stop()
            own.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=1_000_000)
    every = ("writes", "reads", "txn", "watch", "lease", "etcdctl", "keys")
    parser.add_argument("sections", nargs="*", default=every)
    arguments = parser.parse_args()
    collector.calm()
    uvloop.install()
    asyncio.run(main(arguments.sections, arguments.seconds, arguments.rounds, arguments.keys))
