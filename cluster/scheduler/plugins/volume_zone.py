"""VolumeZone: a volume that carries a zone or region is used by nodes of that zone only."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.scheduler.columns import Columns, Mask, View
from cluster.scheduler.framework import FilterPlugin, Rejection
from cluster.scheduler.framework.events import events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.claims import VOLUMES, claims_of

OLD = "failure-domain.beta.kubernetes.io/"
ZONES = {
    "topology.kubernetes.io/zone": f"{OLD}zone",
    "topology.kubernetes.io/region": f"{OLD}region",
}
KEYS = (*ZONES, *ZONES.values())
TRANSLATED = {old: new for new, old in ZONES.items()}
REASON = "node(s) had no available volume zone"


class VolumeZone(FilterPlugin):
    name = "VolumeZone"
    events = events(
        nodes="add update", persistentvolumes="add update", persistentvolumeclaims="add update"
    )

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        return any(True for _ in _required(pod, columns))

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        """Nodes without any label of zones are where there are no zones: they will do."""
        zoned, wrong = view.none(), view.none()
        for key in KEYS:
            zoned |= view.has_label(key)
        for key, values in _required(pod, view.columns):
            wrong |= ~_in_zone(view, key, values)
        return [Rejection(zoned & wrong, REASON, resolvable=False)]


def _in_zone(view: View, key: str, values: set[str]) -> Mask:
    """Old and new names of a label stand for one another."""
    result = view.label_in(key, values)
    other = ZONES.get(key) or TRANSLATED[key]
    return result | (~view.has_label(key) & view.label_in(other, values))


def _required(pod: PodInfo, columns: Columns) -> Iterable[tuple[str, set[str]]]:
    """Labels of the pod's volumes that name zones; several zones are joined by "__"."""
    for claim in claims_of(pod, columns.catalog):
        volume = columns.catalog.get(VOLUMES, claim["spec"].get("volumeName") or "")
        labels = (volume or {"metadata": {}})["metadata"].get("labels") or {}
        for key in KEYS:
            if key in labels:
                yield key, set(labels[key].split("__"))
