"""VolumeRestrictions: disks that only one pod may have, and claims for a single pod."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cluster.scheduler.columns import Columns, View
from cluster.scheduler.framework import FilterPlugin, Rejection
from cluster.scheduler.framework.events import ClusterEvent, events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.claims import claims_of

Object = dict[str, Any]
DISK = "node(s) had no available disk"
SINGLE = (
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)


class VolumeRestrictions(FilterPlugin):
    name = "VolumeRestrictions"
    events = events(nodes="add", pods="delete", persistentvolumeclaims="add update")

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        volumes = pod.spec.get("volumes")
        return bool(volumes and (pod.claims or _disks([pod])))

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        disks = _disks([pod])
        if disks:
            taken = [
                any(_conflict(mine, theirs) for theirs in _disks(pods) for mine in disks)
                for pods in map(view.columns.pods_on, view.names())
            ]
            yield Rejection(np.array(taken, np.bool_), DISK)
        if self._in_use(view.columns, pod):
            yield Rejection(view.all(), SINGLE)

    def _in_use(self, columns: Columns, pod: PodInfo) -> bool:
        """Wherever the other pod is: only one in the whole cluster may use the claim."""
        for claim in claims_of(pod, columns.catalog):
            key = f"{pod.namespace}/{claim['metadata']['name']}"
            single = "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ())
            if single and columns.claim_users.get(key, {}).keys() - {pod.uid}:
                return True
        return False

    def helps(self, pod: PodInfo, event: ClusterEvent, columns: Columns) -> bool:
        if event.resource == "persistentvolumeclaims":
            metadata = event.obj["metadata"]
            return f"{metadata['namespace']}/{metadata['name']}" in pod.claims
        return True


Disk = tuple[str, tuple[Any, ...], bool]
"""(kind, what names it, whether it is only read)"""


def _disks(pods: Iterable[PodInfo]) -> list[Disk]:
    volumes = (volume for pod in pods for volume in pod.spec.get("volumes") or ())
    return [disk for volume in volumes if (disk := _disk(volume))]


def _disk(volume: Object) -> Disk | None:
    """A disk that cannot be shared, or only by readers."""
    if disk := volume.get("gcePersistentDisk"):
        return "gce", (disk["pdName"],), bool(disk.get("readOnly"))
    if disk := volume.get("awsElasticBlockStore"):
        return "ebs", (disk["volumeID"],), False
    if disk := volume.get("iscsi"):
        return "iscsi", (disk["iqn"],), bool(disk.get("readOnly"))
    if disk := volume.get("rbd"):
        where = (*sorted(disk.get("monitors") or ()), disk.get("pool", "rbd"), disk["image"])
        return "rbd", where, bool(disk.get("readOnly"))
    return None


def _conflict(one: Disk, other: Disk) -> bool:
    return one[:2] == other[:2] and not (one[2] and other[2])
