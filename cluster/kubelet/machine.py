"""What this machine has and is, read from /proc and /etc."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.machinery import quantity


def capacity(config: Mapping[str, Any], data_dir: str) -> dict[str, str]:
    """cpu, memory, pods, ephemeral-storage; what the config names wins over what is here."""
    disk = shutil.disk_usage(data_dir)
    found = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{_memory_kib()}Ki",
        "pods": "110",
        "ephemeral-storage": f"{disk.total // 1024}Ki",
    }
    return found | {name: str(value) for name, value in config.items()}


def allocatable(
    capacity: Mapping[str, str], reserved: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """What is left for pods: the capacity without each of `reserved`. Pure."""
    found = dict(capacity)
    for name, text in capacity.items():
        taken = sum(quantity.parse(part[name]) for part in reserved if name in part)
        if taken:
            left = max(0, quantity.parse(text) - taken)
            milli, whole = left // 10**6, left // 10**9
            found[name] = quantity.canonical(f"{milli}m") if name == "cpu" else _whole(whole)
    return found


def _whole(amount: int) -> str:
    return str(amount) if amount % 1024 else f"{amount // 1024}Ki"


def _memory_kib() -> int:
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemTotal:"):
                return int(line.split()[1])
    raise RuntimeError("/proc/meminfo has no MemTotal")


def info() -> dict[str, str]:
    """The machine-specific part of nodeInfo."""
    return {
        "machineID": _text("/etc/machine-id"),
        "systemUUID": _text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        "bootID": _text("/proc/sys/kernel/random/boot_id"),
        "osImage": _os_image(),
    }


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:  # not on every machine, nor readable by everyone
        return ""
