"""What the machine uses, from /proc and the file system of the kubelet's folder.

Nodes that share a machine all report the whole of it, as they report its whole capacity.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class FileSystem:
    capacity_bytes: int
    available_bytes: int
    used_bytes: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True)
class Interface:
    name: str
    received_bytes: int
    receive_errors: int
    sent_bytes: int
    send_errors: int


@dataclass(frozen=True)
class NodeUsage:
    """`cpu_ns`: of all processors, since the machine was started at `booted_at_s`."""

    cpu_ns: int
    booted_at_s: float
    memory_bytes: int
    available_bytes: int
    file_system: FileSystem
    interfaces: tuple[Interface, ...]
    processes: int
    processes_max: int

    @property
    def working_set_bytes(self) -> int:
        """All that cannot be had back at once."""
        return self.memory_bytes - self.available_bytes


def read(folder: str) -> NodeUsage:
    """`folder`: where the kubelet keeps its pods."""
    cpu_ns, booted_at_s = _processors()
    memory = _memory()
    return NodeUsage(
        cpu_ns,
        booted_at_s,
        memory["MemTotal"],
        memory["MemAvailable"],
        _file_system(folder),
        tuple(_interfaces()),
        sum(name.isdigit() for name in os.listdir("/proc")),
        int(_text("/proc/sys/kernel/pid_max")),
    )


def _processors() -> tuple[int, float]:
    busy_ticks, booted_at_s = 0, 0.0
    for line in _text("/proc/stat").splitlines():
        name, _, rest = line.partition(" ")
        if name == "cpu":
            user, nice, system, _idle, _waiting, irq, soft_irq, steal = map(int, rest.split()[:8])
            busy_ticks = user + nice + system + irq + soft_irq + steal
        elif name == "btime":
            booted_at_s = float(rest)
    return busy_ticks * _TICK_NS, booted_at_s


def _memory() -> dict[str, int]:
    """Bytes, by the names of /proc/meminfo."""
    pairs = (line.split(":") for line in _text("/proc/meminfo").splitlines())
    return {name: int(rest.split()[0]) * 1024 for name, rest in pairs}


def _file_system(folder: str) -> FileSystem:
    found = os.statvfs(folder)
    size = found.f_frsize
    return FileSystem(
        found.f_blocks * size,
        found.f_bavail * size,
        (found.f_blocks - found.f_bfree) * size,
        found.f_files,
        found.f_ffree,
    )


def _interfaces() -> Iterator[Interface]:
    for line in _text("/proc/net/dev").splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = list(map(int, rest.split()))
        if name.strip() != "lo":
            yield Interface(name.strip(), numbers[0], numbers[2], numbers[8], numbers[10])


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()
