"""What a node holds of its machine: processes, mounts, network namespaces."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.kubelet.runtimes.helpers import linux

KUBELET = b"cluster.faults.kubelets.process"
NETWORKS = Path("/run/netns")

Process = tuple[int, int]
"""(pid, start time in ticks): the same process for certain."""


@dataclass(frozen=True)
class Held:
    processes: frozenset[Process]
    mounts: frozenset[str]
    networks: frozenset[str]
    """Names of the machine's network namespaces, whoever made them."""

    def since(self, before: Held) -> Held:
        return Held(
            self.processes - before.processes,
            self.mounts - before.mounts,
            self.networks - before.networks,
        )

    def __bool__(self) -> bool:
        return bool(self.processes or self.mounts or self.networks)


def held(data_dir: str) -> Held:
    """By the node with this data folder. Its own kubelet does not count."""
    marker = f"{os.path.abspath(data_dir)}/"
    return Held(
        frozenset(_processes(os.fsencode(marker))),
        frozenset(_mounts(marker)),
        frozenset(os.listdir(NETWORKS)) if NETWORKS.is_dir() else frozenset(),
    )


def _processes(marker: bytes) -> Iterator[Process]:
    """Those that name the folder, in their words or environment, and all that descend of them."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            texts = (Path(f"/proc/{name}/{file}").read_bytes() for file in ("cmdline", "environ"))
            if any(marker in text for text in texts) and not _is_helper(name):
                yield from _family(int(name))


def _is_helper(pid: str) -> bool:
    """Of a kubelet that runs, whose child it is."""
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    return KUBELET in Path(f"/proc/{parent}/cmdline").read_bytes()


def _family(pid: int) -> Iterator[Process]:
    with contextlib.suppress(OSError):
        yield pid, linux.start_ticks(pid)
        for child in linux.children(pid):
            yield from _family(child)


def _mounts(marker: str) -> Iterator[str]:
    with open("/proc/self/mountinfo") as file:
        for line in file:
            point = line.split()[4]
            if f"{point}/".startswith(marker):
                yield point
