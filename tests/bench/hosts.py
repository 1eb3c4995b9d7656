"""Several hosts on one machine: a network namespace each, a switch between them, a raylet on each.

Needs root and iproute2. Everything is found again by its namespace, so nothing is left behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from actors.hosts.ray_head import SETTINGS

PORT = 6379
START_TIMEOUT_S = 60.0
OBJECT_STORE_BYTES = 80_000_000


class Hosts:
    """A context: host 1 has Ray's head, the others join it. Hosts are 10.77.0.1 and up."""

    def __init__(self, count: int) -> None:
        self._prefix = f"rk{os.getpid()}"
        self._switch = f"{self._prefix}-sw"
        self._names = [f"{self._prefix}-h{number}" for number in range(1, count + 1)]
        self._folder = tempfile.mkdtemp(prefix="rk-hosts-")
        self.ray_address = f"{_address(1)}:{PORT}"
        self.environment = {**os.environ, **SETTINGS, "RAY_AUTH_MODE": "disabled"}

    def __enter__(self) -> Hosts:
        try:
            self._wire()
            for number in range(1, len(self._names) + 1):
                self._start_ray(number)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def run(self, number: int, command: Sequence[str]) -> int:
        """Run a command on a host to its end; its exit code."""
        inside = ["ip", "netns", "exec", self._names[number - 1], *command]
        return subprocess.run(inside, env=self.environment, check=False).returncode

    def link(self, number: int, state: str) -> None:
        """`up` or `down`: of the cable between a host and the switch."""
        _ip("-n", self._switch, "link", "set", f"v{number}", state)

    def _wire(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "br0", "up")
        for number, name in enumerate(self._names, 1):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            ends = ["eth0", "netns", name, "type", "veth"]
            _ip("link", "add", *ends, "peer", "name", f"v{number}", "netns", self._switch)
            _ip("-n", self._switch, "link", "set", f"v{number}", "master", "br0", "up")
            _ip("-n", name, "addr", "add", f"{_address(number)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")

    def _start_ray(self, number: int) -> None:
        own = _address(number)
        place = ["--head", f"--port={PORT}"] if number == 1 else [f"--address={self.ray_address}"]
        options = [
            *place,
            f"--node-ip-address={own}",
            f"--labels=host=h{number}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            "--num-cpus=2",
            "--disable-usage-stats",
        ]
        if number == 1:
            options += ["--include-dashboard=false", f"--temp-dir={self._folder}/ray"]
        log = Path(self._folder) / f"h{number}.log"
        starting = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
        inside = ["ip", "netns", "exec", self._names[number - 1], *starting]
        with log.open("wb") as output:
            done = subprocess.run(
                inside,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=START_TIMEOUT_S,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"Ray did not start on {own}:\n{log.read_text()[-2000:]}")

    def _remove(self) -> None:
        """The processes of each host, then the host."""
        for name in self._names:
            for pid in _ip_output("netns", "pids", name).split():
                os.kill(int(pid), signal.SIGKILL)
        for name in (*self._names, self._switch):
            _wait_empty(name)
            _ip("netns", "del", name, check=False)
        subprocess.run(["rm", "-rf", self._folder], check=True)


def _address(number: int) -> str:
    return f"10.77.0.{number}"


def _wait_empty(name: str) -> None:
    deadline_s = time.monotonic() + 10
    while _ip_output("netns", "pids", name).split() and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, stderr=None if check else subprocess.DEVNULL)


def _ip_output(*arguments: str) -> str:
    done = subprocess.run(
        ["ip", *arguments], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return done.stdout.decode()
