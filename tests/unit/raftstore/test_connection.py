"""How a client finds the member that leads, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from actors.simulation.loop import VirtualLoop
from raftstore.connection import CONNECT_TIMEOUT_S
from raftstore.simulation.cluster import SimulatedCluster


async def _search_s(loop: VirtualLoop, seed: int) -> float:
    """How long a client looks for the leader while it reaches nobody else."""
    cluster = SimulatedCluster(loop, seed, 3)
    for name in cluster.names:
        await cluster.start(name)
    while not cluster.leaders:
        await asyncio.sleep(0.1)
    [leader] = cluster.leaders
    silent = [name for name in cluster.names if name != leader]
    cluster.fabric.cut.update(way for n in silent for way in (("c0", n), (n, "c0")))
    client = await cluster.client(0, 10.0)
    begun_s = loop.time()
    await client.put(b"key", b"value")
    took_s = loop.time() - begun_s
    await client.stop()
    for process in cluster.fabric.processes:
        process.kill()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return took_s


@pytest.mark.parametrize("seed", range(5))
def test_members_that_do_not_answer_hold_up_the_search_for_the_leader_only_a_little(
    seed: int,
) -> None:
    loop = VirtualLoop()
    try:
        assert loop.run_until_complete(_search_s(loop, seed)) < CONNECT_TIMEOUT_S
    finally:
        loop.close()
