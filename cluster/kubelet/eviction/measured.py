"""What the eviction manager looks at: the node's signals, and what each pod takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cluster.kubelet import container_config
from cluster.kubelet.eviction.disk import Taken, of_folder
from cluster.kubelet.eviction.local_storage import DiskUsage
from cluster.kubelet.eviction.ranking import Candidate
from cluster.kubelet.eviction.thresholds import Observed
from cluster.kubelet.runtimes.base import Usage
from cluster.kubelet.stats import node_usage

Object = dict[str, Any]


def signals(data_dir: str, image_dir: str = "") -> dict[str, Observed]:
    """Of the machine and the file systems of the kubelet's folder and of its images."""
    node = node_usage.read(data_dir)
    found = {"memory.available": Observed(node.available_bytes, node.memory_bytes)}
    limit = node.processes_max
    found["pid.available"] = Observed(max(0, limit - _threads()), limit)
    for name, folder in (("nodefs", data_dir), ("imagefs", image_dir or data_dir)):
        disk = os.statvfs(folder)
        size = disk.f_frsize
        found[f"{name}.available"] = Observed(disk.f_bavail * size, disk.f_blocks * size)
        if disk.f_files:  # not every file system counts them
            found[f"{name}.inodesFree"] = Observed(disk.f_favail, disk.f_files)
    return found


def _threads() -> int:
    with open("/proc/loadavg") as file:
        return int(file.read().split()[3].partition("/")[2])


def candidate(
    pod: Object, usages: Mapping[str, Usage], volumes: Taken, layers: Mapping[str, Taken]
) -> Candidate:
    """`usages` and `layers` by container name."""
    containers: dict[str, dict[str, int]] = {}
    for name in {*usages, *layers}:
        usage, layer = usages.get(name, Usage()), layers.get(name, Taken())
        containers[name] = {
            "memory": usage.working_set_bytes,
            "pids": usage.processes,
            "ephemeral-storage": layer.size_bytes,
            "inodes": layer.inodes,
        }
    total = {"ephemeral-storage": volumes.size_bytes, "inodes": volumes.inodes}
    for each in containers.values():
        for resource, amount in each.items():
            total[resource] = total.get(resource, 0) + amount
    return Candidate(pod, total, containers)


def volumes(data_dir: str, pod: Object) -> dict[str, Taken]:
    """The emptyDirs on disk, by volume name; those in memory count as memory."""
    found = {}
    folder = os.path.join(data_dir, "pods", pod["metadata"]["uid"], "volumes", "emptyDir")
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("emptyDir") is not None and volume["emptyDir"].get("medium") != "Memory":
            found[volume["name"]] = of_folder(os.path.join(folder, volume["name"]))
    return found


def layers(data_dir: str, pod: Object) -> dict[str, Taken]:
    """What each container has written outside its volumes, and its logs."""
    found = {}
    logs = container_config.log_folder(data_dir, pod)
    base = os.path.join(data_dir, "pods", pod["metadata"]["uid"], "containers")
    for container in pod["spec"].get("containers") or ():
        name = container["name"]
        found[name] = of_folder(os.path.join(base, name)) + of_folder(os.path.join(logs, name))
    return found


def disk_usage(volumes: Mapping[str, Taken], layers: Mapping[str, Taken]) -> DiskUsage:
    return DiskUsage(
        {name: taken.size_bytes for name, taken in volumes.items()},
        {name: taken.size_bytes for name, taken in layers.items()},
    )
