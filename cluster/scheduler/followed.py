"""What the API tells, put into columns, queue and nominations. No I/O of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.seams import Clock
from cluster.machinery import meta
from cluster.scheduler.columns import Columns
from cluster.scheduler.framework.events import ClusterEvent
from cluster.scheduler.framework.nominations import Nominations
from cluster.scheduler.framework.profile import Profile
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.queue.hints import rules
from cluster.scheduler.queue.queue import SchedulingQueue

Object = dict[str, Any]

CATALOGUED = (
    "services",
    "replicationcontrollers",
    "replicasets.apps",
    "statefulsets.apps",
    "persistentvolumeclaims",
    "persistentvolumes",
    "storageclasses.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "csidrivers.storage.k8s.io",
    "csistoragecapacities.storage.k8s.io",
    "poddisruptionbudgets.policy",
    "resourceclaims.resource.k8s.io",
    "resourceslices.resource.k8s.io",
    "deviceclasses.resource.k8s.io",
)
"""Resources that plugins look up."""


class Followed:
    """Handlers for informers. Everything runs on one event loop, so all is consistent between
    awaits. `assumed`: pods that are being bound, by uid, and since when."""

    def __init__(
        self, clock: Clock, profiles: Mapping[str, Profile], backoff_s: tuple[float, float]
    ) -> None:
        self.profiles = profiles
        self.columns = Columns()
        self.queue = SchedulingQueue(clock, rules(self.columns, profiles), *backoff_s)
        self.nominations = Nominations()
        self.assumed: dict[str, tuple[PodInfo, float]] = {}
        self._clock = clock

    def on_node(self, kind: str, old: Object | None, new: Object | None) -> None:
        if new is None:
            if old is not None:
                self.columns.remove_node(meta.name(old))
                self.queue.happened(ClusterEvent("nodes", "delete", old, None))
            return
        if old is not None and _node_view(old) == _node_view(new):
            return
        self.columns.put_node(new)
        self.queue.happened(ClusterEvent("nodes", kind, old, new))

    def on_namespace(self, kind: str, old: Object | None, new: Object | None) -> None:
        labels = None if new is None else new["metadata"].get("labels") or {}
        self.columns.census.set_namespace(meta.name(new or old or {}), labels)
        self.queue.happened(ClusterEvent("namespaces", kind, old, new))

    def on_object(self, resource: str, kind: str, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.columns.catalog.put(resource, new)
        elif old is not None:
            self.columns.catalog.remove(resource, old)
        self.queue.happened(ClusterEvent(resource, kind, old, new))

    def on_pod(self, kind: str, old: Object | None, new: Object | None) -> None:
        if new is None or _finished(new):
            self._gone(old or new or {}, new)
        elif new["spec"].get("nodeName"):
            self._placed(old, new)
        elif (new["spec"].get("schedulerName") or "default-scheduler") in self.profiles:
            self._pending(old, new)

    def _gone(self, before: Object, now: Object | None) -> None:
        """It was deleted or has ended. A binding under way finds that out by itself."""
        uid = before["metadata"]["uid"]
        self.queue.remove(meta.key(before))
        self.nominations.remove(uid)
        self.assumed.pop(uid, None)
        if self.columns.remove_pod(uid):
            self.queue.happened(ClusterEvent("pods", "delete", now or before, None))

    def _placed(self, old: Object | None, new: Object) -> None:
        uid, node = new["metadata"]["uid"], new["spec"]["nodeName"]
        before = old if old is not None and old["spec"].get("nodeName") else None
        if before is not None and _pod_view(before) == _pod_view(new):
            return
        self.assumed.pop(uid, None)
        self.nominations.remove(uid)
        self.queue.remove(meta.key(new))
        self.columns.put_pod(node, PodInfo.of(new))
        kind = "add" if before is None else "update"
        self.queue.happened(ClusterEvent("pods", kind, before, new))

    def _pending(self, old: Object | None, new: Object) -> None:
        uid, key = new["metadata"]["uid"], meta.key(new)
        if new["metadata"].get("deletionTimestamp"):
            self.queue.remove(key)
            self.nominations.remove(uid)
            return
        pod = PodInfo.of(new)
        if pod.nominated:
            self.nominations.put(pod.nominated, pod)
        elif old is not None and (old.get("status") or {}).get("nominatedNodeName"):
            self.nominations.remove(uid)
        if uid in self.assumed:
            return
        if old is None or _pod_view(old) != _pod_view(new):
            self.queue.add(pod)
            self.queue.happened(ClusterEvent("pods", "pending", old, new))
        else:
            self.queue.refresh(pod)

    # A decision and what becomes of it

    def assume(self, pod: PodInfo, node: str) -> None:
        self.assumed[pod.uid] = (pod, self._clock.now())
        self.columns.put_pod(node, pod)
        self.nominations.remove(pod.uid)

    def overdue(self, before_s: float) -> list[tuple[str, PodInfo]]:
        """Assumptions that are older."""
        return [(uid, pod) for uid, (pod, since_s) in self.assumed.items() if since_s < before_s]

    def confirm(self, uid: str, pod: PodInfo, found: Object | None) -> None:
        """The API was asked about an assumption: keep it only if the pod is bound, or may be."""
        if uid not in self.assumed:
            return
        if found is None:
            self.forget(pod)
            self.queue.remove(pod.key)
        elif found["spec"].get("nodeName"):
            self.on_pod("update", None, found)

    def forget(self, pod: PodInfo) -> bool:
        """Take an assumption back, unless the API confirmed a binding or the end meanwhile."""
        if self.assumed.pop(pod.uid, None) is None:
            return False
        self.columns.remove_pod(pod.uid)
        self.queue.happened(ClusterEvent("pods", "delete", pod.pod, None))
        return True


def _node_view(node: Object) -> tuple[Any, ...]:
    """What decides where pods fit; heartbeats do not."""
    status = node.get("status") or {}
    allocatable = status.get("allocatable") or status.get("capacity")
    return node.get("spec"), node["metadata"].get("labels"), allocatable, status.get("images")


def _pod_view(pod: Object) -> tuple[Any, ...]:
    """What decides where the pod fits, and what its node has left."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    resizes = [
        (entry.get("resources"), entry.get("allocatedResources"))
        for entry in status.get("containerStatuses") or ()
    ]
    claims = status.get("resourceClaimStatuses")
    gone = metadata.get("deletionTimestamp")
    return pod["spec"], metadata.get("labels"), gone, resizes, claims


def _finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
