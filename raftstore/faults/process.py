"""A member whose machine fails: `python -m raftstore.faults.process CONFIG.json SEED`.

Like `raftstore.process`, but SIGKILL is a power cut (see `actors.faults.disk`), and faults come as
JSON lines on standard input: `{"cut": [address, ...], "reset": bool}` silences links to these
addresses (or ends their connections first) and heals all others, `{"full": bool}` and
`{"failing_syncs": number}` break the disk. It ends with that input: nothing outlives a campaign.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from typing import Any

import uvloop

from actors.faults.disk import LossyDisk
from actors.faults.network import CuttableNetwork
from actors.seams import Seams
from actors.seams.clock import SystemClock
from actors.seams.randomness import seeded_randomness, system_randomness
from raftstore.process import run
from raftstore.raft.transport import split_address


class _Control(asyncio.Protocol):
    """Faults on request, a line each."""

    def __init__(self, disk: LossyDisk, network: CuttableNetwork) -> None:
        self._disk, self._network = disk, network
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def connection_lost(self, exc: Exception | None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _obey(self, request: dict[str, Any]) -> None:
        if "cut" in request:
            addresses = map(split_address, request["cut"])
            self._network.cut(addresses, reset=request.get("reset", False))
        self._disk.full = request.get("full", self._disk.full)
        self._disk.failing_syncs = request.get("failing_syncs", self._disk.failing_syncs)


async def run_failing(config_path: str, seed: str) -> int:
    disk, network = LossyDisk(seeded_randomness(seed)), CuttableNetwork()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: _Control(disk, network), sys.stdin)
    return await run(config_path, Seams(SystemClock(), system_randomness(), network, disk))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    uvloop.install()
    sys.exit(asyncio.run(run_failing(sys.argv[1], sys.argv[2])))
