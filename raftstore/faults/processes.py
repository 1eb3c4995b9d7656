"""Members of a store as real processes: started, killed, paused, cut off."""

from __future__ import annotations

import contextlib
import json
import pathlib
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

_PORTS = range(12_000, 32_000)
"""Below those that the system gives to connections: nobody takes one before its server listens."""


def free_addresses(number: int) -> list[str]:
    sockets: list[socket.socket] = []
    while len(sockets) < number:
        with contextlib.suppress(OSError):  # in use: another one then
            sockets.append(socket.create_server(("127.0.0.1", random.choice(_PORTS))))
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses


class StoreProcesses:
    """Starts, kills and restarts members; addresses and folders stay."""

    def __init__(
        self, folder: pathlib.Path, members: int = 3, seed: str = "", **settings: Any
    ) -> None:
        """With a `seed` SIGKILL is a power cut, and links and disks fail on request."""
        self.names = [f"m{i}" for i in range(members)]
        addresses = free_addresses(2 * members)
        peers = self.peers = dict(zip(self.names, addresses, strict=False))
        self.endpoints = addresses[members:]
        self._folder, self._seed, self._starts = folder, seed, 0
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

    def add(self, name: str, peer_address: str) -> str:
        """Configure one that joins a store to which its address was added; its client address."""
        config = json.loads((self._folder / f"{self.names[0]}.json").read_text())
        [client_address] = free_addresses(1)
        settings = {
            "name": name,
            "data_dir": str(self._folder / name),
            "peer_address": peer_address,
            "client_address": client_address,
            "peers": {},
            "state": "existing",
        }
        (self._folder / f"{name}.json").write_text(json.dumps({**config, **settings}))
        self.names.append(name)
        self.peers[name] = peer_address
        self.endpoints.append(client_address)
        return client_address

    def configure(self, name: str, **settings: Any) -> None:
        """Add to a member's config, from its next start on."""
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    def start(self, *names: str) -> None:
        for name in names or self.names:
            with (self._folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    self._command(name),
                    stdin=subprocess.PIPE if self._seed else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def _command(self, name: str) -> list[str]:
        self._starts += 1
        module, seed = "raftstore.process", []
        if self._seed:
            module, seed = "raftstore.faults.process", [f"{self._seed}/{name}/{self._starts}"]
        return [sys.executable, "-m", module, f"{self._folder}/{name}.json", *seed]

    def request(self, name: str, **faults: Any) -> None:
        """Ask a member that was started with a seed for faults (see `faults.process`)."""
        pipe = self._processes[name].stdin
        assert pipe is not None
        pipe.write(json.dumps(faults).encode() + b"\n")
        pipe.flush()

    def cut(self, ways: Iterable[tuple[str, str]], *, reset: bool = False) -> None:
        """Drop what goes these ways between members, and nothing else (none: heal).

        With `reset` the connections end first: members notice, instead of waiting.
        """
        targets: dict[str, list[str]] = {name: [] for name in self._processes}
        for source, target in ways:
            targets[source].append(self.peers[target])
        for name, addresses in targets.items():
            self.request(name, cut=addresses, reset=reset)

    def kill(self, *names: str) -> None:
        for name in names or self.names:
            self._processes[name].send_signal(signal.SIGKILL)
        for name in names or self.names:
            process = self._processes.pop(name)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def wait_ended(self, name: str, timeout_s: float) -> int:
        """Until a member ends by itself; its exit status. Raises subprocess.TimeoutExpired."""
        return self._processes[name].wait(timeout_s)

    def pause(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def stop(self) -> None:
        if self._processes:
            self.kill(*self._processes)

    def ended(self) -> list[str]:
        """Members that ended by themselves, with their last words."""
        gone = [name for name, process in self._processes.items() if process.poll() is not None]
        words = {name: (self._folder / f"{name}.log").read_text().splitlines() for name in gone}
        return [f"{name} ended: {' '.join(words[name][-1:])}" for name in gone]

    def logs(self) -> str:
        return "\n".join(p.read_text() for p in sorted(self._folder.glob("*.log")))
