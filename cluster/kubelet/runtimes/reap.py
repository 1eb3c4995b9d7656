"""Ending everything that a node ever started: for `raykube down`, and as a simulated power cut.

Works from the records on disk alone, so it needs no kubelet and may be run twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from typing import Protocol

from cluster.kubelet.cgroups import detection
from cluster.kubelet.runtimes import records
from cluster.kubelet.runtimes.helpers import linux
from cluster.kubelet.runtimes.host_mounts import mounts
from cluster.kubelet.volumes import local_store

_DEATH_TIMEOUT_S = 10.0
CONTAINER_MANAGER = "container-manager.json"
"""In a node's folder: where the container manager of its pods is."""


@dataclass(frozen=True)
class Reaped:
    processes: int
    mounts: int


class Reaper(Protocol):
    """The pods of a node in a container manager. Raises OSError if that does not answer."""

    def stop_all(self) -> int:
        """SIGKILL to all that runs; how many containers did."""
        ...

    def remove_all(self) -> int: ...

    def close(self) -> None: ...


def reap(data_dir: str) -> Reaped:
    """Kill every process of the node, unmount what is under `data_dir`, remove its pods' folders.

    Raises TimeoutError if a process outlives SIGKILL by 10 s, OSError if the pods are in a
    container manager that does not answer.
    """
    data_dir = os.path.abspath(data_dir)
    managed = _managed(data_dir, remove=True)
    processes = managed + _kill_all(data_dir)
    unmounted = _unmount_all(data_dir)
    _remove_groups(data_dir)
    local_store.detach_all(data_dir)
    records.remove_tree(os.path.join(data_dir, "pods"))
    return Reaped(processes, unmounted)


def _remove_groups(data_dir: str) -> None:
    if (tree := detection.recorded(data_dir)) is not None:
        tree.remove("")
        os.unlink(os.path.join(data_dir, detection.RECORD))


def power_off(data_dir: str) -> int:
    """SIGKILL to every process of the node, as if its machine died; records and files stay."""
    data_dir = os.path.abspath(data_dir)
    return _managed(data_dir, remove=False) + _kill_all(data_dir)


def _managed(data_dir: str, *, remove: bool) -> int:
    """End what runs in a container manager, if the node has one."""
    path = os.path.join(data_dir, CONTAINER_MANAGER)
    if not os.path.exists(path):
        return 0
    with open(path) as file:
        found = json.load(file)
    reaper = _reaper(found["runtime"], data_dir, found["endpoint"])
    try:
        ended = reaper.remove_all() if remove else reaper.stop_all()
    finally:
        reaper.close()
    if remove:
        os.unlink(path)
    return ended


def _reaper(runtime: str, data_dir: str, endpoint: str) -> Reaper:
    if runtime == "docker":
        from cluster.kubelet.runtimes.docker import reaping as of_docker

        return of_docker.Reaper(data_dir, endpoint)
    from cluster.kubelet.runtimes.cri import reaping as of_cri

    return of_cri.Reaper(data_dir, endpoint)


def record(data_dir: str, runtime: str, endpoint: str) -> None:
    """Where the pods of a node will be, before the first one is made."""
    with open(os.path.join(data_dir, CONTAINER_MANAGER), "w") as file:
        json.dump({"runtime": runtime, "endpoint": endpoint}, file)


def _kill_all(data_dir: str) -> int:
    killed: list[records.Process] = []
    for folder in records.folders(data_dir):
        process = records.process_of(folder)
        if process is not None and process.is_alive():
            killed += [process, *_family(process.pid)]
    _kill(killed)
    strays = _marked_processes(data_dir)
    _kill(strays)
    _wait_gone(killed + strays)
    groups = detection.recorded(data_dir)
    last = groups.kill("") if groups is not None else 0
    return len(killed) + len(strays) + last


def _family(pid: int) -> list[records.Process]:
    """All descendants: a plain-mode shim's children do not die with it."""
    found = []
    for child in linux.children(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(records.Process(child, linux.start_ticks(child)))
            found += _family(child)
    return found


def _marked_processes(data_dir: str) -> list[records.Process]:
    """Plain-mode processes that lost their shim are known by their environment."""
    marker = b"RAYKUBE_MOUNTS=" + os.fsencode(data_dir) + b"/"
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if any(entry.startswith(marker) for entry in _environment(name)):
                found.append(records.Process(int(name), linux.start_ticks(int(name))))
    return found


def _environment(pid: str) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")


def _kill(processes: list[records.Process]) -> None:
    for process in processes:
        if process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def _wait_gone(processes: list[records.Process]) -> None:
    deadline = time.monotonic() + _DEATH_TIMEOUT_S
    while any(process.is_alive() for process in processes):
        if time.monotonic() > deadline:
            raise TimeoutError("a container's process did not end after SIGKILL")
        time.sleep(0.005)


def _unmount_all(data_dir: str) -> int:
    points = [point for point, _ in mounts() if (point + "/").startswith(data_dir + "/")]
    for point in reversed(points):
        linux.unmount(point, linux.MNT_DETACH)
    return len(points)
