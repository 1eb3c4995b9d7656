"""Nemeses: each breaks one thing by SIGKILL, and says what it broke."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import control, discovery
from actors.errors import NotFound
from cluster.kubelet.runtimes import reap


@dataclass(frozen=True)
class Target:
    """The cluster under attack: its folder, and a pod of the application."""

    folder: str
    pod: str


Nemesis = Callable[[Target], str]
LED = ("store", "scheduler", "controller-manager")


def kill_pod_process(target: Target) -> str:
    """The process of a container, found by the name that the pod has in its environment."""
    marker = f"POD_NAME={target.pod}".encode()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and _has(name, marker)]
    if not pids:
        raise NotFound(f"no process of pod {target.pod}")
    victim = max(pids)
    os.kill(victim, signal.SIGKILL)
    return f"process {victim} of pod {target.pod}"


def kill_store_leader(target: Target) -> str:
    return _kill(target, _leader(target, "store"))


def kill_api_server(target: Target) -> str:
    return _kill(target, "api-server-0")


def kill_scheduler(target: Target) -> str:
    return _kill(target, _leader(target, "scheduler"))


def kill_controller_manager(target: Target) -> str:
    return _kill(target, _leader(target, "controller-manager"))


def kill_node(target: Target) -> str:
    """Power off: the kubelet, the proxy and every process of the node's pods."""
    node = "node-0"
    killed = _kill(target, node)
    reap.power_off(os.path.join(target.folder, "nodes", node))
    return f"{killed} and its pods"


def kill_whole_store(target: Target) -> str:
    """Every member at once: what was acknowledged must be on their disks."""
    names = [name for name, entry in _picture(target).items() if entry["kind"] == "store"]
    return ", ".join(_kill(target, name) for name in names)


ALL: dict[str, Nemesis] = {
    "a pod's process": kill_pod_process,
    "the store's leader": kill_store_leader,
    "the API server": kill_api_server,
    "the active scheduler": kill_scheduler,
    "the active controller manager": kill_controller_manager,
    "a node": kill_node,
    "every store member": kill_whole_store,
}


def _picture(target: Target) -> dict[str, Any]:
    return discovery.read(target.folder)


def leader(picture: dict[str, Any], kind: str) -> str | None:
    """The component of this kind that leads, by its own word; the store names its leader."""
    for name, entry in picture.items():
        if entry["kind"] == kind and entry.get("facts", {}).get("leader") in (True, name):
            return name
    return None


def is_whole(picture: dict[str, Any]) -> bool:
    """Every component is ready, and each kind that has a leader has one now."""
    ready = bool(picture) and all(entry["ready"] for entry in picture.values())
    return ready and all(leader(picture, kind) for kind in LED)


def _leader(target: Target, kind: str) -> str:
    found = leader(_picture(target), kind)
    if found is None:
        raise NotFound(f"no {kind} says that it leads")
    return found


def _kill(target: Target, name: str) -> str:
    pid = control.call(target.folder, {"verb": "kill", "name": name})
    return f"{name} (process {pid})"


def _has(pid: str, marker: bytes) -> bool:
    try:
        return marker in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
