"""A lease kept alive over etcd's gRPC stream, while leaders die."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Any

import grpc
import pytest

from actors.seams import system_seams
from raftstore.client import StoreClient
from raftstore.faults.processes import StoreProcesses, free_addresses
from raftstore.gateway import protocol_pb2 as pb

PATIENCE_S = 30
TTL_S = 4
NAMES = ("m0", "m1", "m2")


class _Keeper:
    """One stream of keep-alives, through the gateway of one member."""

    def __init__(self, channel: grpc.aio.Channel, lease: int) -> None:
        self._stream: Any = channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.LeaseKeepAliveResponse.FromString,
        )()
        self._lease = lease

    async def keep(self, times: int) -> list[int]:
        """The TTLs that the answers tell, one a quarter of a TTL after the other."""
        told = []
        for _ in range(times):
            await self._stream.write(pb.LeaseIdRequest(ID=self._lease))
            told.append((await self._stream.read()).TTL)
            await asyncio.sleep(TTL_S / 4)
        return told

    async def until_gone(self) -> None:
        """A TTL of 0 tells it. Asking keeps it alive no more: the key's watch says when."""
        await self._stream.write(pb.LeaseIdRequest(ID=self._lease))
        assert (await self._stream.read()).TTL == 0


async def _leader(client: StoreClient) -> str:
    while True:
        for status in await client.status():
            if status.healthy and status.name == status.leader:
                return status.name
        await asyncio.sleep(0.05)


async def _scenario(store: StoreProcesses, gateways: dict[str, str]) -> None:
    client = StoreClient(store.endpoints)
    await client.start(system_seams())
    try:
        lease = await client.lease_grant(TTL_S)
        put = await client.put(b"held", b"", lease=lease.id)
        leader = await _leader(client)
        stays = next(name for name in NAMES if name != leader)
        async with grpc.aio.insecure_channel(gateways[stays]) as channel:
            keeper = _Keeper(channel, lease.id)
            assert await keeper.keep(1) == [TTL_S]
            store.kill(leader)
            assert await keeper.keep(6) == [TTL_S] * 6, "the same stream, over a change of leader"
            assert (await client.range(b"held")).kvs, "kept alive, it is there after its TTL"
            ended = client.watch(b"held", start_revision=put.revision + 1)
            async for batch in ended:
                if batch.events:
                    assert [event.type for event in batch.events] == ["delete"]
                    break
            await ended.aclose()
            await keeper.until_gone()
    finally:
        await client.stop()


@pytest.mark.timeout(90)
def test_a_stream_of_keep_alives_outlives_the_leader_and_the_lease_ends_after_it(
    tmp_path: pathlib.Path,
) -> None:
    store = StoreProcesses(tmp_path)
    gateways = dict(zip(NAMES, free_addresses(3), strict=True))
    for name, endpoint in zip(NAMES, store.endpoints, strict=True):
        own = {"address": gateways[name], "endpoints": store.endpoints, "member": endpoint}
        store.configure(name, gateway=own, client_urls=[f"http://{gateways[name]}"])
    store.start()
    try:
        asyncio.run(asyncio.wait_for(_scenario(store, gateways), PATIENCE_S))
    finally:
        store.stop()
