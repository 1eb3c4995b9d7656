"""VolumeBinding: nodes that can reach the pod's volumes, and volumes for claims that waited.

The claims are bound by the volume controller: here a volume is reserved for the claim, or the
claim is told for which node a volume is to be made, and the pod waits until that is done.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from cluster.machinery import meta
from cluster.machinery.status import ApiError
from cluster.scheduler.columns import Columns, View
from cluster.scheduler.framework import FilterPlugin, PreFilterPlugin, Refused, Rejection
from cluster.scheduler.framework.effects import Handle, PreBindPlugin, ReservePlugin, Unbindable
from cluster.scheduler.framework.events import events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.claims import (
    CLAIMS,
    SELECTED_NODE,
    VOLUMES,
    claims_of,
    is_bound,
    marks_of,
    missing,
    reachable,
    waits_for_consumer,
)
from cluster.scheduler.plugins.volume_choice import choose

Object = dict[str, Any]
NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind"
NOT_ENOUGH_SPACE = "node(s) did not have enough free storage"
NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"


class VolumeBinding(PreFilterPlugin, FilterPlugin, ReservePlugin, PreBindPlugin):
    """Arguments: bindTimeoutSeconds."""

    name = "VolumeBinding"
    events = events(
        nodes="add update",
        persistentvolumes="add update",
        persistentvolumeclaims="add update",
        storageclasses__storage__k8s__io="add update",
        csistoragecapacities__storage__k8s__io="add update",
        csidrivers__storage__k8s__io="update",
    )
    poll_s = 0.1

    def __init__(self, bind_timeout_s: float = 600.0) -> None:
        self._bind_timeout_s = bind_timeout_s

    def pre_filter(self, columns: Columns, pod: PodInfo) -> Refused | None:
        if not pod.claims:
            return None
        if reason := missing(pod, columns.catalog):
            return Refused(reason)
        for claim in claims_of(pod, columns.catalog):
            if not is_bound(claim) and not waits_for_consumer(claim, columns.catalog):
                return Refused(IMMEDIATE)
        return None

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        return bool(pod.claims)

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        claims = [*claims_of(pod, view.columns.catalog)]
        far = view.none()
        for claim in claims:
            if not is_bound(claim):
                continue
            volume = view.columns.catalog.get(VOLUMES, claim["spec"]["volumeName"])
            if volume is None:
                yield Rejection(view.all(), NO_VOLUME, resolvable=False)
                return
            far |= ~reachable(view, volume)
        yield Rejection(far, NODE_CONFLICT, resolvable=False)
        if waiting := [claim for claim in claims if not is_bound(claim)]:
            choice = choose(view, waiting)
            yield Rejection(choice.unbound, BIND_CONFLICT, resolvable=False)
            yield Rejection(choice.full & ~choice.unbound, NOT_ENOUGH_SPACE, resolvable=False)

    def reserve(self, columns: Columns, pod: PodInfo, node: str) -> None:
        """Later pods see the volumes taken."""
        waiting = [c for c in claims_of(pod, columns.catalog) if not is_bound(c)]
        if not waiting:
            return
        choice = choose(View(columns, np.array([columns.rows[node]], np.intp)), waiting)
        if choice.unbound[0] or choice.full[0]:
            raise Unbindable(f"volumes of {pod.key} are not available on {node} any more")
        for claim, chosen in choice.chosen:
            if chosen[0] >= 0:
                volume = choice.volumes[int(chosen[0])]
                columns.catalog.assume(VOLUMES, _reserved(volume, claim))
            elif marks_of(claim).get(SELECTED_NODE) != node:
                columns.catalog.assume(CLAIMS, _annotated(claim, node))

    def unreserve(self, columns: Columns, pod: PodInfo, node: str) -> None:
        for claim in [*claims_of(pod, columns.catalog)]:
            for volume in [*columns.catalog.assumed(VOLUMES)]:
                if volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]:
                    columns.catalog.restore(VOLUMES, meta.key(volume))
            columns.catalog.restore(CLAIMS, meta.key(claim))

    async def pre_bind(self, handle: Handle, pod: PodInfo, node: str) -> None:
        """Write what was assumed, then wait until all claims are bound."""
        catalog = handle.columns.catalog
        mine = {claim["metadata"]["uid"] for claim in claims_of(pod, catalog)}
        if not mine:
            return
        changed = [(VOLUMES, v) for v in catalog.assumed(VOLUMES) if _owner(v) in mine]
        changed += [(CLAIMS, c) for c in catalog.assumed(CLAIMS) if c["metadata"]["uid"] in mine]
        for resource, obj in changed:
            try:
                await handle.client.update(resource, obj)
            except ApiError as error:
                raise Unbindable(f"binding volumes: {error}") from error
        await self._wait(handle, pod, node)

    async def _wait(self, handle: Handle, pod: PodInfo, node: str) -> None:
        catalog, clock = handle.columns.catalog, handle.seams.clock
        end_s = clock.now() + self._bind_timeout_s
        while True:
            claims = [*claims_of(pod, catalog)]
            if len(claims) < len(pod.claims):
                raise Unbindable("binding volumes: a claim of the pod was deleted")
            waiting = [claim for claim in claims if not is_bound(claim)]
            if not waiting:
                return
            if any(marks_of(c).get(SELECTED_NODE, node) != node for c in waiting):
                raise Unbindable("binding volumes: provisioning failed for the chosen node")
            if clock.now() > end_s:
                raise Unbindable("binding volumes: context deadline exceeded")
            await clock.sleep(self.poll_s)


def _owner(volume: Object) -> str:
    return str(volume["spec"]["claimRef"]["uid"])


def _reserved(volume: Object, claim: Object) -> Object:
    new, metadata = copy.deepcopy(volume), claim["metadata"]
    if not new["spec"].get("claimRef"):
        marks = {**marks_of(volume), BOUND_BY_CONTROLLER: "yes"}
        new["metadata"]["annotations"] = marks
    new["spec"]["claimRef"] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        **{key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")},
    }
    return new


def _annotated(claim: Object, node: str) -> Object:
    metadata = {**claim["metadata"], "annotations": {**marks_of(claim), SELECTED_NODE: node}}
    return {**claim, "metadata": metadata}
