"""Runs one member as a plain process: `python -m raftstore.process CONFIG.json`.

For tests and debugging; in a cluster a host of `actors` runs `Member`. With a key `gateway` in its
config (see `gateway.server`) it serves etcd's protocol too. Prints "serving ADDRESS" once it
serves. Ends on SIGTERM or SIGINT, with status 1 if the member failed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import pathlib
import signal
import sys

import uvloop

from actors import collector
from actors.seams import Seams, system_seams
from raftstore.gateway.server import Gateway
from raftstore.member import Member

CHECK_S = 0.5


async def run(config_path: str, seams: Seams | None = None) -> int:
    """`seams`: other ones than this machine's, to inject faults."""
    collector.calm()
    seams = seams or system_seams()
    config = json.loads(pathlib.Path(config_path).read_text())
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    member = Member()
    await member.start(seams, config)
    gateway = Gateway()
    if "gateway" in config:
        await gateway.start(seams, config["gateway"])
    print(f"serving {member.address}", flush=True)
    while not stopping.is_set() and not member.failed:
        try:
            await asyncio.wait_for(stopping.wait(), CHECK_S)
        except TimeoutError:
            continue
    if member.failed:
        print(f"stopped: {member.failure}", file=sys.stderr, flush=True)
    await gateway.stop()
    await member.stop()
    return int(member.failed)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    uvloop.install()
    sys.exit(asyncio.run(run(sys.argv[1])))
