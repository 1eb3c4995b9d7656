"""Pods that use more of the node's disk than they said: emptyDirs, containers, all of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.kubelet import admission
from cluster.machinery import quantity

Object = dict[str, Any]

_NAME = "ephemeral-storage"


@dataclass(frozen=True)
class DiskUsage:
    """Bytes: `volumes` are the emptyDirs by name, `containers` the writable layer and the logs."""

    volumes: Mapping[str, int]
    containers: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.volumes.values()) + sum(self.containers.values())


def violation(pod: Object, used: DiskUsage) -> str:
    """Why the pod is to be evicted, or ""."""
    return _volume(pod, used) or _pod(pod, used) or _container(pod, used)


def _volume(pod: Object, used: DiskUsage) -> str:
    for volume in pod["spec"].get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit and 0 < quantity.value(limit) < used.volumes.get(volume["name"], 0):
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    return ""


def _limit(container: Object) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return quantity.value(limits[_NAME]) if _NAME in limits else 0


def _pod(pod: Object, used: DiskUsage) -> str:
    """The limit of a pod is that of all its containers, where each has one."""
    limits = [_limit(container) for container in pod["spec"].get("containers") or ()]
    total = sum(limits)
    total += admission.amounts(pod["spec"].get("overhead") or {}).get(_NAME, 0) if total else 0
    if all(limits) and used.total > total:
        text = "Pod ephemeral local storage usage exceeds the total limit of containers"
        return f"{text} {binary(total)}. "
    return ""


def binary(amount: int) -> str:
    """Bytes as people write them: 1048576 is 1Mi."""
    for power, unit in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if amount and amount % (1 << power) == 0:
            return f"{amount >> power}{unit}"
    return str(amount)


def _container(pod: Object, used: DiskUsage) -> str:
    for container in pod["spec"].get("containers") or ():
        limit, name = _limit(container), container["name"]
        if limit and used.containers.get(name, 0) > limit:
            text = container["resources"]["limits"][_NAME]
            return f'Container {name} exceeded its local ephemeral storage limit "{text}". '
    return ""
