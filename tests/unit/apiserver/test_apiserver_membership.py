"""Several API servers over one store: who is named as an endpoint, and what each sees."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
from api_fixture import SERVICE_CIDR, Authority

from actors.seams import system_seams
from cluster.apiserver.server import ApiServer
from cluster.storage import keys
from raftstore.testing import MemoryStore

ENDPOINTS = b"/registry/endpoints/default/kubernetes"


async def started(store: MemoryStore, tls: dict[str, str], address: str) -> ApiServer:
    server = ApiServer(store)
    config = {"name": "a", "address": f"{address}:0", "tls": tls, "service_cidr": SERVICE_CIDR}
    await server.start(system_seams(), config)
    while not (await server.health()).ready:
        await asyncio.sleep(0.01)
    return server


async def named(store: MemoryStore, wanted: set[str]) -> None:
    """Wait until the endpoints name these addresses and no others."""
    while True:
        kvs = (await store.range(ENDPOINTS)).kvs
        subsets = orjson.loads(kvs[0].value).get("subsets", []) if kvs else []
        if {a["ip"] for s in subsets for a in s["addresses"]} == wanted:
            return
        await asyncio.sleep(0.02)


def test_endpoints_name_the_servers_that_live(tmp_path: Path) -> None:
    tls = Authority(tmp_path).issue("kube-apiserver", server=True)

    async def main() -> None:
        store = MemoryStore()
        one = await started(store, tls, "127.0.0.1")
        two = await started(store, tls, "127.0.0.2")
        await asyncio.wait_for(named(store, {"127.0.0.1", "127.0.0.2"}), 10)
        [lease] = await leases(store, "127.0.0.2")
        await _die(two)
        await store.lease_revoke(lease)  # which a real store does when nobody renews it
        await asyncio.wait_for(named(store, {"127.0.0.1"}), 10)
        await one.stop()
        await asyncio.wait_for(named(store, set()), 10)

    asyncio.run(main())


async def leases(store: MemoryStore, host: str) -> list[int]:
    start = f"{keys.ENDPOINT_LEASES}{host}:".encode()
    return [kv.lease for kv in (await store.range(start, start[:-1] + b";")).kvs]


async def _die(server: Any) -> None:
    """Stop without saying goodbye."""
    server._membership._lease_id = 0
    await server.stop()
