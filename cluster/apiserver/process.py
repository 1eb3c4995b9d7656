"""Runs one API server as a plain process: `python -m cluster.apiserver.process CONFIG.json`.

For faults, benchmarks and debugging; in a cluster a host of `actors` runs `ApiServer`. Prints
"serving ADDRESS" once it listens. SIGTERM and SIGINT end it in order.
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
from actors.seams import system_seams
from cluster.apiserver.server import ApiServer


async def run(config_path: str) -> None:
    collector.calm()
    config = json.loads(pathlib.Path(config_path).read_text())
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = ApiServer()
    await server.start(system_seams(), config)
    print(f"serving {server.address}", flush=True)
    await stopping.wait()
    await server.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    uvloop.install()
    asyncio.run(run(sys.argv[1]))
