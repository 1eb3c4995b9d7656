"""Members of a store as real processes, for fault tests and benchmarks."""

from __future__ import annotations

import json
import pathlib
import signal
import socket
import subprocess
import sys
from typing import Any


def free_addresses(number: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses


class StoreProcesses:
    """Starts, kills and restarts members; addresses and folders stay."""

    def __init__(self, folder: pathlib.Path, members: int = 3, **settings: Any) -> None:
        self.names = [f"m{i}" for i in range(members)]
        addresses = free_addresses(2 * members)
        peers = self.peers = dict(zip(self.names, addresses, strict=False))
        self.endpoints = addresses[members:]
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name, client_address in zip(self.names, self.endpoints, strict=True):
            config = {
                "name": name,
                "data_dir": str(folder / name),
                "peer_address": peers[name],
                "client_address": client_address,
                "peers": peers,
                "tls": None,
                **settings,
            }
            (folder / f"{name}.json").write_text(json.dumps(config))

    def configure(self, name: str, **settings: Any) -> None:
        """Add to a member's config, from its next start on."""
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    def start(self, *names: str) -> None:
        for name in names or self.names:
            log = (self._folder / f"{name}.log").open("ab")
            command = [sys.executable, "-m", "raftstore.process", f"{self._folder}/{name}.json"]
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )
            log.close()

    def kill(self, *names: str) -> None:
        for name in names or self.names:
            self._processes[name].send_signal(signal.SIGKILL)
        for name in names or self.names:
            self._processes.pop(name).wait()

    def pause(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def stop(self) -> None:
        self.kill(*self._processes)

    def logs(self) -> str:
        return "\n".join(p.read_text() for p in sorted(self._folder.glob("*.log")))
