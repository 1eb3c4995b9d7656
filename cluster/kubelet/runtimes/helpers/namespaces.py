"""The namespaces of a pod's containers beside the mounts': inter-process communication, sysctls."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from cluster.kubelet.runtimes.helpers import linux

IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
"""Prefixes of what an IPC namespace has for itself."""


def enter_ipc(spec: dict[str, Any]) -> None:
    """Into that of a container of the same pod that runs, or a new one, or stay in the host's."""
    if spec.get("host_ipc"):
        return
    if not _joined(spec.get("ipc_of") or ""):
        linux.unshare(linux.CLONE_NEWIPC)
        _set(spec.get("sysctls") or {})


def _joined(folder: str) -> bool:
    if not folder:
        return False
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(os.path.join(folder, "process.json")) as file:
            process = json.load(file)
        if linux.start_ticks(process["pid"]) == process["start_ticks"]:
            linux.setns(f"/proc/{linux.children(process['pid'])[0]}/ns/ipc")
            return True
    return False  # it has just ended


def _set(sysctls: dict[str, str]) -> None:
    for name, value in sysctls.items():
        with open(os.path.join("/proc/sys", name.replace(".", "/")), "w") as file:
            file.write(value)
