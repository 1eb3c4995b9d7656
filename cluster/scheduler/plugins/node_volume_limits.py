"""NodeVolumeLimits: how many volumes of a CSI driver can be attached to a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from cluster.machinery.volume_matching import class_of
from cluster.scheduler.columns import Columns, Numbers, View
from cluster.scheduler.columns.catalog import Catalog
from cluster.scheduler.framework import FilterPlugin, Rejection
from cluster.scheduler.framework.events import events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.claims import CLAIMS, CLASSES, NO_PROVISIONER, VOLUMES

CSI_NODES = "csinodes.storage.k8s.io"
REASON = "node(s) exceed max volume count"
UNLIMITED = np.iinfo(np.int64).max
Attached = set[tuple[str, str]]
"""(driver, what identifies the volume)"""


class NodeVolumeLimits(FilterPlugin):
    name = "NodeVolumeLimits"
    events = events(
        csinodes__storage__k8s__io="add update", pods="delete", persistentvolumeclaims="add update"
    )

    def __init__(self) -> None:
        self._limits: dict[str, Numbers] = {}
        self._limits_of: tuple[int, int] = (-1, -1)

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        return bool(pod.claims and _volumes(pod, columns.catalog))

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        columns, wanted = view.columns, _volumes(pod, view.columns.catalog)
        full = np.zeros(len(columns), np.bool_)
        for driver, count in Counter(driver for driver, _ in wanted).items():
            limits = self._limit(columns, driver)
            # Nodes with few claims cannot be over the limit: only the others are counted exactly.
            doubtful = columns.claim_count.array[: len(columns)] + count > limits
            for row in np.flatnonzero(doubtful):
                attached = _attached(columns, columns.names[row]) | wanted
                full[row] |= sum(d == driver for d, _ in attached) > limits[row]
        return [Rejection(view.take(full), REASON)]

    def _limit(self, columns: Columns, driver: str) -> Numbers:
        now = (columns.catalog.version(CSI_NODES), columns.node_changes.position)
        if now != self._limits_of:
            self._limits, self._limits_of = {}, now
        if driver not in self._limits:
            limits = np.full(len(columns), UNLIMITED, np.int64)
            for node in columns.catalog.list(CSI_NODES):
                row = columns.rows.get(node["metadata"]["name"])
                for entry in node["spec"].get("drivers") or () if row is not None else ():
                    count = (entry.get("allocatable") or {}).get("count")
                    if entry["name"] == driver and count is not None:
                        limits[row] = int(count)
            self._limits[driver] = limits
        return self._limits[driver]


def _attached(columns: Columns, node: str) -> Attached:
    found: Attached = set()
    for pod in columns.pods_on(node):
        if pod.claims:
            found |= _volumes(pod, columns.catalog)
    return found


def _volumes(pod: PodInfo, catalog: Catalog) -> Attached:
    """Those that a CSI driver attaches, also those that it has yet to make."""
    found: Attached = set()
    for key in pod.claims:
        claim = catalog.get(CLAIMS, key)
        if claim is None:
            continue
        volume = catalog.get(VOLUMES, claim["spec"].get("volumeName") or "")
        if volume is not None:
            if csi := volume["spec"].get("csi"):
                found.add((csi["driver"], csi["volumeHandle"]))
            continue
        storage_class = catalog.get(CLASSES, class_of(claim)) or {}
        provisioner = storage_class.get("provisioner", NO_PROVISIONER)
        if provisioner != NO_PROVISIONER:
            found.add((provisioner, key))
    return found
