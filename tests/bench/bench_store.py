"""Put throughput and latency of a local store of three member processes, against its clients.

`python tests/bench/bench_store.py [seconds per figure]` prints one JSON line per figure. Clients
are coroutines with one request in flight each, over one connection per 64 of them.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import time
from typing import Any

import uvloop

from actors.seams import system_seams
from raftstore.client import StoreClient

VALUE = os.urandom(256)
KEYS = 10_000


def _store_processes() -> Any:
    path = pathlib.Path(__file__).parents[1] / "faults" / "store_processes.py"
    spec = importlib.util.spec_from_file_location("store_processes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.StoreProcesses


async def _measure(endpoints: list[str], kind: str, workers: int, duration_s: float) -> None:
    clients = [StoreClient(endpoints) for _ in range(max(1, workers // 64))]
    for client in clients:
        await client.start(system_seams())
        await client.put(b"warm", b"up")
    latencies_s: list[float] = []
    end_s = time.perf_counter() + duration_s

    async def work(number: int) -> None:
        client, count = clients[number % len(clients)], number
        while (start_s := time.perf_counter()) < end_s:
            key = b"bench/%06d" % (count % KEYS)
            await (client.put(key, VALUE) if kind == "put" else client.range(key))
            latencies_s.append(time.perf_counter() - start_s)
            count += workers

    await asyncio.gather(*map(work, range(workers)))
    latencies_s.sort()
    figure = {
        "figure": kind,
        "clients": workers,
        "per_s": round(len(latencies_s) / duration_s),
        "p50_ms": round(latencies_s[len(latencies_s) // 2] * 1e3, 2),
        "p99_ms": round(latencies_s[len(latencies_s) * 99 // 100] * 1e3, 2),
        "value_bytes": len(VALUE),
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps(figure), flush=True)
    for client in clients:
        await client.stop()


def _cpu_s(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _idle(store: Any, duration_s: float) -> None:
    before = {name: _cpu_s(store.pid(name)) for name in store.names}
    await asyncio.sleep(duration_s)
    used = [100 * (_cpu_s(store.pid(name)) - before[name]) / duration_s for name in store.names]
    print(json.dumps({"figure": "idle", "cpu_percent_per_member": [round(u, 2) for u in used]}))


async def main(duration_s: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = _store_processes()(pathlib.Path(folder))
        store.start()
        try:
            for workers in (1, 64, 256):
                await _measure(store.endpoints, "put", workers, duration_s)
            await _measure(store.endpoints, "linearizable range", 64, duration_s)
            await _idle(store, 2 * duration_s)
        finally:
            store.stop()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0))
