"""What a control group is to allow, and the files of cgroup v1 and v2 that say so. Pure.

The numbers are upstream's (pkg/kubelet/cm/helpers_linux.go) and, for v2, runc's.
"""

from __future__ import annotations

from dataclasses import dataclass

PERIOD_US = 100_000
_QUOTA_US_MIN = 1000
SHARES_MIN, SHARES_MAX = 2, 262_144
UNLIMITED = -1


@dataclass(frozen=True)
class Limits:
    """None leaves a setting as it is; UNLIMITED takes a limit away. `cpu_quota_us` per 100 ms."""

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    kill_together: bool = False
    """Out of memory, all processes of the group are killed, not one of them (v2 only)."""


@dataclass(frozen=True)
class Setting:
    """One file of one controller and what is to be in it."""

    controller: str
    file: str
    text: str


def shares(cpu_milli: int) -> int:
    return min(SHARES_MAX, max(SHARES_MIN, cpu_milli * 1024 // 1000))


def quota_us(cpu_milli: int) -> int:
    """Processor time per 100 ms; no limit for 0."""
    if cpu_milli <= 0:
        return UNLIMITED
    return max(_QUOTA_US_MIN, cpu_milli * PERIOD_US // 1000)


def weight(cpu_shares: int) -> int:
    """cpu.weight of v2 for cpu.shares of v1: 2 is 1, 262144 is 10000 (KEP-2254)."""
    return 1 + (cpu_shares - SHARES_MIN) * 9999 // (SHARES_MAX - SHARES_MIN)


def v1_settings(limits: Limits) -> list[Setting]:
    found = []
    if limits.cpu_shares is not None:
        found.append(Setting("cpu", "cpu.shares", str(limits.cpu_shares)))
    if limits.cpu_quota_us is not None:
        found.append(Setting("cpu", "cpu.cfs_period_us", str(PERIOD_US)))
        found.append(Setting("cpu", "cpu.cfs_quota_us", str(limits.cpu_quota_us)))
    if limits.memory_bytes is not None:
        text = str(limits.memory_bytes)
        found.append(Setting("memory", "memory.limit_in_bytes", text))
    if limits.pids is not None:
        found.append(Setting("pids", "pids.max", _or_max(limits.pids)))
    return found


def v2_settings(limits: Limits) -> list[Setting]:
    found = []
    if limits.cpu_shares is not None:
        found.append(Setting("cpu", "cpu.weight", str(weight(limits.cpu_shares))))
    if limits.cpu_quota_us is not None:
        text = f"{_or_max(limits.cpu_quota_us)} {PERIOD_US}"
        found.append(Setting("cpu", "cpu.max", text))
    if limits.memory_bytes is not None:
        found.append(Setting("memory", "memory.max", _or_max(limits.memory_bytes)))
    if limits.kill_together:
        found.append(Setting("memory", "memory.oom.group", "1"))
    if limits.pids is not None:
        found.append(Setting("pids", "pids.max", _or_max(limits.pids)))
    return found


def _or_max(number: int) -> str:
    return "max" if number == UNLIMITED else str(number)
