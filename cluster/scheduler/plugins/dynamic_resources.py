"""DynamicResources: nodes whose devices satisfy the pod's ResourceClaims."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cluster.machinery import meta
from cluster.machinery.cel import CelError
from cluster.machinery.status import ApiError
from cluster.scheduler.columns import Columns, View
from cluster.scheduler.devices.allocation import Picked, Search, TooHard
from cluster.scheduler.devices.ledger import Ledger
from cluster.scheduler.devices.pools import Device, by_node, devices
from cluster.scheduler.devices.selectors import selects
from cluster.scheduler.framework import FilterPlugin, PreFilterPlugin, Refused, Rejection
from cluster.scheduler.framework.effects import Handle, PreBindPlugin, ReservePlugin, Unbindable
from cluster.scheduler.framework.events import events
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.device_claims import (
    CLAIMS,
    CLASSES,
    FINALIZER,
    SLICES,
    allocated,
    allocation,
    claims_of,
    may_use,
    missing,
    reserved,
    taken,
)
from cluster.scheduler.plugins.node_selector import any_term

Object = dict[str, Any]
NOT_HERE = "resourceclaim not available on the node"
CANNOT = "cannot allocate all claims"


class DynamicResources(PreFilterPlugin, FilterPlugin, ReservePlugin, PreBindPlugin):
    name = "DynamicResources"
    events = events(
        nodes="add update",
        pods="update",
        resourceclaims__resource__k8s__io="add update delete",
        resourceslices__resource__k8s__io="add update",
        deviceclasses__resource__k8s__io="add update",
    )

    def __init__(self) -> None:
        self._devices: list[Device] = []
        self._devices_of: tuple[Columns | None, int] = None, -1
        self._answers: dict[tuple[str, int], bool] = {}

    def pre_filter(self, columns: Columns, pod: PodInfo) -> Refused | None:
        if not pod.spec.get("resourceClaims"):
            return None
        if reason := missing(pod, columns.catalog):
            return Refused(reason)
        for claim in claims_of(pod, columns.catalog):
            if allocation(claim) and not may_use(pod, claim):
                return Refused("resourceclaim in use")
            for name in () if allocation(claim) else _classes(claim):
                if columns.catalog.get(CLASSES, name) is None:
                    return Refused(f"device class {name} does not exist")
        return None

    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        return bool(pod.spec.get("resourceClaims"))

    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]:
        claims = claims_of(pod, view.columns.catalog)
        elsewhere = view.none()
        for claim in claims:
            selector = (allocation(claim) or {}).get("nodeSelector")
            if selector:
                elsewhere |= ~any_term(view, selector.get("nodeSelectorTerms") or ())
        yield Rejection(elsewhere, NOT_HERE)
        waiting = [claim for claim in claims if not allocation(claim)]
        if waiting:
            fine = [picked is not None for picked in self._search(view, waiting)]
            yield Rejection(~np.array(fine, np.bool_) & ~elsewhere, CANNOT)

    def _search(self, view: View, claims: Sequence[Object]) -> list[list[Picked] | None]:
        """Per node, the devices for these claims. Nodes with the same devices share the answer."""
        catalog = view.columns.catalog
        published = self._published(view.columns)
        ledger = Ledger(taken(catalog), published)
        kept: dict[tuple[int, ...], list[Picked] | None] = {}
        found = []
        for usable in by_node(view, published):
            key = tuple(map(id, usable))
            if key not in kept:
                search = Search(
                    claims, usable, ledger, lambda a, d: self._selects(view.columns, a, d)
                )
                try:
                    kept[key] = search.run()
                except (TooHard, CelError):
                    kept[key] = None
            found.append(kept[key])
        return found

    def _published(self, columns: Columns) -> list[Device]:
        version = columns, columns.catalog.version(SLICES)  # each term counts anew
        if version != self._devices_of:
            self._devices = devices(columns.catalog.list(SLICES))
            self._devices_of, self._answers = version, {}
        return self._devices

    def _selects(self, columns: Columns, asked: Object, device: Device) -> bool:
        """By the class's selectors and the request's own. Raises CelError."""
        of_class = columns.catalog.get(CLASSES, asked.get("deviceClassName") or "")
        if of_class is None:
            return False
        given = (
            *((of_class.get("spec") or {}).get("selectors") or ()),
            *(asked.get("selectors") or ()),
        )
        return all(self._answer(each["cel"]["expression"], device) for each in given)

    def _answer(self, expression: str, device: Device) -> bool:
        key = (expression, id(device))
        if key not in self._answers:
            self._answers[key] = selects(expression, device)
        return self._answers[key]

    def reserve(self, columns: Columns, pod: PodInfo, node: str) -> None:
        """Later pods see the devices taken."""
        if not pod.spec.get("resourceClaims"):
            return
        claims = claims_of(pod, columns.catalog)
        waiting = [claim for claim in claims if not allocation(claim)]
        view = View(columns, np.array([columns.rows[node]], np.intp))
        picked = self._search(view, waiting)[0] if waiting else []
        if picked is None:
            raise Unbindable(f"devices for {pod.key} are not available on {node} any more")
        for number, claim in enumerate(waiting):
            new = reserved(allocated(claim, number, picked, node), pod)
            # Its finalizer is written first: until the allocation follows, the devices are taken.
            columns.catalog.assume(CLAIMS, new, stands=functools.partial(_is_waiting, claim))
        for claim in claims:
            if allocation(claim):
                columns.catalog.assume(CLAIMS, reserved(claim, pod))

    def unreserve(self, columns: Columns, pod: PodInfo, node: str) -> None:
        for claim in claims_of(pod, columns.catalog):
            columns.catalog.restore(CLAIMS, meta.key(claim))

    async def pre_bind(self, handle: Handle, pod: PodInfo, node: str) -> None:
        catalog = handle.columns.catalog
        mine = {meta.key(claim) for claim in claims_of(pod, catalog)}
        for claim in [c for c in catalog.assumed(CLAIMS) if meta.key(c) in mine]:
            try:
                await _write(handle, claim)
            except ApiError as error:
                raise Unbindable(f"reserving {meta.key(claim)}: {error}") from error


def _is_waiting(claim: Object, told: Object) -> bool:
    """Whether what the API tells of the claim is from before its allocation."""
    metadata = told["metadata"]
    same = metadata.get("uid") == claim["metadata"].get("uid")
    return same and not metadata.get("deletionTimestamp") and not allocation(told)


async def _write(handle: Handle, claim: Object) -> None:
    """Protected from deletion first, then allocated and reserved."""
    metadata = claim["metadata"]
    if FINALIZER not in (metadata.get("finalizers") or ()):
        finalizers = [*(metadata.get("finalizers") or ()), FINALIZER]
        protected = {**claim, "metadata": {**metadata, "finalizers": finalizers}}
        metadata = (await handle.client.update(CLAIMS, protected))["metadata"]
    await handle.client.update(CLAIMS, {**claim, "metadata": metadata}, subresource="status")


def _classes(claim: Mapping[str, Any]) -> Iterable[str]:
    for request in (claim["spec"].get("devices") or {}).get("requests") or ():
        for asked in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if asked:
                yield asked["deviceClassName"]
