"""A kubelet as a process: python -m cluster.faults.kubelets.process CONFIG.json

SIGTERM stops it, SIGKILL is the fault; its containers go on either way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import uvloop

from actors.seams import system_seams
from cluster.kubelet.kubelet import Kubelet

WAIT_S = 30.0


class KubeletProcess:
    """`prefix`: words before its command, `folder`: for its config and log."""

    def __init__(self, config: dict[str, Any], folder: Path, prefix: list[str]) -> None:
        self._folder = folder
        self.data_dir: str = config["data_dir"]
        path = folder / "kubelet.json"
        path.write_text(json.dumps(config))
        self._command = [*prefix, sys.executable, "-m", __name__, str(path)]

    def start(self) -> None:
        with (self._folder / "kubelet.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(WAIT_S)


async def run(config: dict[str, Any]) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    kubelet = Kubelet()
    await kubelet.start(system_seams(), config)
    await stopped.wait()
    await kubelet.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    uvloop.install()
    asyncio.run(run(json.loads(Path(sys.argv[1]).read_text())))
