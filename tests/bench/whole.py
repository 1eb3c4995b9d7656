"""A whole cluster to measure: brought up by the command, its processes' CPU time and memory, and
the requests that its API servers have answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etcd import resident_bytes
from figures import tell

from actors import discovery
from actors.seams import system_seams
from cluster.client import Client, ClientConfig

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MACHINE = "machine"
_REQUESTS = re.compile(
    r'apiserver_request_total\{verb="(\w+)",resource="([^"]*)",code="\d+"\} (\d+)'
)


@dataclass(frozen=True)
class Usage:
    """CPU seconds by kind of component since the start, and requests by (verb, resource)."""

    cpu_s: Mapping[str, float]
    requests: Mapping[tuple[str, str], int]

    def since(self, before: Usage) -> Usage:
        cpu_s = {kind: spent - before.cpu_s.get(kind, 0.0) for kind, spent in self.cpu_s.items()}
        return Usage(cpu_s, Counter(self.requests) - Counter(before.requests))


def _busy_s() -> float:
    """Of all processors of this machine, whoever used them."""
    user, nice, system, _, _, irq, soft_irq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + soft_irq) / TICKS_PER_S


class Whole:
    """`raykube up` in a home of its own."""

    def __init__(self, home: str) -> None:
        self._environment = {**os.environ, "RAYKUBE_HOME": home, "RAYKUBE_NAME": "bench"}
        self.folder = f"{home}/bench"
        self.kubeconfig = f"{home}/kubeconfig"
        self.client: Client

    def raykube(self, *arguments: str) -> str:
        command = [sys.executable, "-c", "from cluster.cli.main import main; main()", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._environment, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr or done.stdout)
        return done.stdout

    def up(self, *options: str) -> None:
        self.raykube("up", "--wait", "120s", "--kubeconfig", self.kubeconfig, *options)

    def new_client(self) -> Client:
        config = ClientConfig.from_kubeconfig(self.kubeconfig)
        return Client(config, system_seams(), "bench", timeout_s=60.0)

    def facts(self, kind: str) -> list[dict[str, Any]]:
        """What the components of a kind say of themselves, at most a second old."""
        found = discovery.read(self.folder).values()
        return [entry["facts"] for entry in found if entry["kind"] == kind]

    def _processes(self) -> Iterator[tuple[str, int]]:
        for entry in discovery.read(self.folder).values():
            if entry.get("pid"):
                yield entry["kind"], entry["pid"]

    def memory_mb(self) -> dict[str, float]:
        """Resident, by kind."""
        found: Counter[str] = Counter()
        for kind, pid in self._processes():
            found[kind] += resident_bytes(pid)
        return {kind: round(size / 1e6, 1) for kind, size in found.items()}

    async def usage(self) -> Usage:
        cpu_s = {MACHINE: _busy_s(), "load generator": time.process_time()}
        for kind, pid in self._processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent_s = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
            cpu_s[kind] = cpu_s.get(kind, 0.0) + spent_s
        text = (await self.client.raw("GET", "/metrics")).body.decode()
        requests: Counter[tuple[str, str]] = Counter()
        for verb, resource, count in _REQUESTS.findall(text):
            requests[verb, resource] += int(count)
        return Usage(cpu_s, requests)

    @contextlib.asynccontextmanager
    async def measured(self, name: str, objects: int) -> AsyncIterator[None]:
        """Tell how long the block took, and what it cost for each of its objects."""
        before, start_s = await self.usage(), time.perf_counter()
        yield
        duration_s = time.perf_counter() - start_s
        spent = (await self.usage()).since(before)
        cpu_s = {kind: round(s, 2) for kind, s in spent.cpu_s.items() if s >= 0.01}
        others_s = cpu_s.pop(MACHINE, 0.0) - sum(cpu_s.values())
        top = Counter(
            {f"{verb} {resource}": count for (verb, resource), count in spent.requests.items()}
        ).most_common(8)
        tell(
            name,
            "s",
            duration_s,
            None,
            objects=objects,
            per_s=round(objects / duration_s, 1),
            cpu_s=round(sum(cpu_s.values()), 2),
            cpu_s_of=cpu_s,
            cpu_s_of_others=round(max(0.0, others_s), 2),
            requests_per_object=round(sum(spent.requests.values()) / objects, 2),
            requests=dict(top),
            memory_mb=self.memory_mb(),
        )

    async def none_left(self, resource: str, namespace: str = "", fields: str = "") -> None:
        """Wait until no object matches; asked so that the answer is short."""
        while (await self.client.list(resource, namespace, field_selector=fields, limit=1))[
            "items"
        ]:
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def whole(*options: str) -> Iterator[Whole]:
    """A cluster for the block."""
    with tempfile.TemporaryDirectory(prefix="rk-") as home:
        cluster = Whole(home)
        try:
            cluster.up(*options)
            yield cluster
        finally:
            with contextlib.suppress(RuntimeError):  # it never came up
                cluster.raykube("down", "-q")


def tell_shape(**facts: Any) -> None:
    """A first line that says what is measured."""
    print(json.dumps({"measured": facts}), flush=True)
