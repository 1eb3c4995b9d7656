"""What the process runtime keeps on disk about each container, and how it is read back.

`DATA/pods/UID/containers/NAME/ATTEMPT/` holds `spec.json` (written before the start),
`process.json` (by the launcher, before anything runs) and `exit.json` (by the shim, at the end).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.runtimes.helpers import linux

UNKNOWN_EXIT_CODE = 137


@dataclass(frozen=True)
class Process:
    """A process named for good: a pid alone may have been given to another since."""

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        try:
            same = linux.start_ticks(self.pid) == self.start_ticks
            return same and not linux.is_zombie(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return False


def folder_of(data_dir: str, pod_uid: str, name: str, attempt: int) -> str:
    return os.path.join(data_dir, "pods", pod_uid, "containers", name, str(attempt))


def pod_uids(data_dir: str) -> list[str]:
    """The pods that have a folder on this node, with containers in it or not."""
    return _names(os.path.join(data_dir, "pods"))


def folders(data_dir: str) -> Iterator[str]:
    """Every container folder under a node's data folder, attempts in order."""
    pods = os.path.join(data_dir, "pods")
    for uid in _names(pods):
        for name in _names(os.path.join(pods, uid, "containers")):
            base = os.path.join(pods, uid, "containers", name)
            for attempt in sorted(filter(str.isdigit, _names(base)), key=int):
                yield os.path.join(base, attempt)


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def read_json(folder: str, name: str) -> dict[str, Any] | None:
    try:
        with open(os.path.join(folder, name)) as file:
            value: dict[str, Any] = json.load(file)
            return value
    except FileNotFoundError:
        return None


def process_of(folder: str) -> Process | None:
    record = read_json(folder, "process.json")
    return Process(record["pid"], record["start_ticks"]) if record else None


def group_of(folder: str) -> str:
    """The path of the container's control group in the node's tree, or ""."""
    record = read_json(folder, "spec.json") or {}
    return str((record.get("cgroup") or {}).get("path", ""))


def load(folder: str) -> Container | None:
    """The container in a folder; None if it was never started."""
    spec, process = read_json(folder, "spec.json"), read_json(folder, "process.json")
    if spec is None or process is None:
        return None
    common = Container(
        pod_uid=spec["pod_uid"],
        name=spec["name"],
        attempt=spec["attempt"],
        container_id=spec["id"],
        log_path=spec["log"],
        running=True,
        started_at_s=process["started_at"],
        image_id=spec.get("image_id", ""),
    )
    ended = read_json(folder, "exit.json")
    if ended is None and Process(process["pid"], process["start_ticks"]).is_alive():
        return common
    return _ended(common, spec, ended or read_json(folder, "exit.json"))


def _ended(container: Container, spec: dict[str, Any], record: dict[str, Any] | None) -> Container:
    values: dict[str, Any] = container.__dict__ | {"running": False}
    if record is None:  # the shim itself was killed: nobody saw the end
        values |= {
            "exit_code": UNKNOWN_EXIT_CODE,
            "signal": 9,
            "finished_at_s": container.started_at_s,
            "reason": "ContainerStatusUnknown",
            "message": "The container's supervising process was killed",
        }
        return Container(**values)
    return Container(
        **values
        | {
            "exit_code": record["exit_code"],
            "signal": record["signal"],
            "finished_at_s": record["finished_at"],
            "reason": record.get("reason")
            or ("Completed" if record["exit_code"] == 0 else "Error"),
            "message": record.get("message", ""),
        }
    )


def remove_tree(path: str) -> None:
    """Remove a folder, also where overlayfs left its work folder without permissions."""

    def make_accessible(function: Any, failed: str, _info: Any) -> None:
        if not os.path.lexists(failed):
            return
        os.chmod(os.path.dirname(failed), stat.S_IRWXU)
        if not os.path.islink(failed):
            os.chmod(failed, stat.S_IRWXU)
        if function in (os.unlink, os.rmdir):
            function(failed)
        else:  # it could not be looked into
            shutil.rmtree(failed, onerror=make_accessible)

    if os.path.lexists(path):
        shutil.rmtree(path, onerror=make_accessible)
