"""Devices from ResourceSlices: complete pools of their newest generation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cluster.machinery import quantity
from cluster.scheduler.columns import Mask, View
from cluster.scheduler.plugins.node_selector import any_term

Object = dict[str, Any]
Identity = tuple[str, str, str]
"""(driver, pool, device)"""
Amounts = Mapping[str, int]
"""By name, in nano units."""
Counted = Mapping[tuple[str, ...], int]
"""Of the counters of pools, in nano units."""


@dataclass(frozen=True, eq=False)
class Device:
    identity: Identity
    given: Object
    place: Object
    """Where it can be used: nodeName, nodeSelector or allNodes, of the slice or its own."""
    consumes: Counted = field(default_factory=dict)
    limits: Counted = field(default_factory=dict)
    """What there is of all counters of its pool."""

    @property
    def driver(self) -> str:
        return self.identity[0]

    def attribute(self, name: str) -> Object | None:
        """By its qualified name ("driver.example.com/model")."""
        attributes: Object = self.given.get("attributes") or {}
        domain, _, bare = name.rpartition("/")
        found = attributes.get(name)
        if found is None and domain in ("", self.driver):
            found = attributes.get(bare)
        return found

    @property
    def shareable(self) -> bool:
        """Several claims may have a part of it each."""
        return bool(self.given.get("allowMultipleAllocations"))

    @property
    def capacity(self) -> Mapping[str, Object]:
        return self.given.get("capacity") or {}


def devices(slices: Iterable[Object]) -> list[Device]:
    """In the order of driver, pool and publication."""
    pools: dict[tuple[str, str], list[Object]] = {}
    for each in slices:
        spec = each["spec"]
        pools.setdefault((spec["driver"], spec["pool"]["name"]), []).append(each)
    found = []
    for (driver, pool), given in sorted(pools.items()):
        complete = _complete(given)
        limits = _limits(complete)
        for each in complete:
            spec = each["spec"]
            for device in spec.get("devices") or ():
                identity = (driver, pool, device["name"])
                place = device if spec.get("perDeviceNodeSelection") else spec
                found.append(Device(identity, device, place, _consumes(each, device), limits))
    return found


def _limits(slices: Iterable[Object]) -> Counted:
    """Counters belong to a slice, and its devices consume them; or to the whole pool, if they
    are published in a slice without devices (as releases after 1.34 have it)."""
    found = {}
    for each in slices:
        for group in each["spec"].get("sharedCounters") or ():
            for name, counter in group["counters"].items():
                found[_counter(each, group["name"], name)] = quantity.parse(counter["value"])
    return found


def _consumes(slice_: Object, device: Object) -> Counted:
    return {
        _counter(slice_, group["counterSet"], name): quantity.parse(counter["value"])
        for group in device.get("consumesCounters") or ()
        for name, counter in group["counters"].items()
    }


def _counter(slice_: Object, group: str, name: str) -> tuple[str, ...]:
    spec = slice_["spec"]
    own = [each["name"] for each in spec.get("sharedCounters") or () if spec.get("devices")]
    where = slice_["metadata"]["name"] if group in own else ""
    return spec["driver"], spec["pool"]["name"], where, group, name


def _complete(slices: Sequence[Object]) -> Sequence[Object]:
    """Those of the newest generation, if all of them are there."""
    newest = max(each["spec"]["pool"].get("generation", 0) for each in slices)
    found = [s for s in slices if s["spec"]["pool"].get("generation", 0) == newest]
    wanted = found[0]["spec"]["pool"].get("resourceSliceCount", 1)
    named = sorted(found, key=lambda each: str(each["metadata"]["name"]))
    return named if len(found) == wanted else ()


def usable_on(view: View, place: Object) -> Mask:
    """Nodes from which devices of this place can be used."""
    if place.get("allNodes"):
        return view.all()
    if place.get("nodeName"):
        return view.named([place["nodeName"]])
    selector = place.get("nodeSelector") or {}
    return any_term(view, selector.get("nodeSelectorTerms") or ())


def by_node(view: View, found: Iterable[Device]) -> list[list[Device]]:
    """Per node of the view, the devices that it can use."""
    result: list[list[Device]] = [[] for _ in range(len(view))]
    masks: dict[int, Sequence[int]] = {}
    for device in found:
        key = id(device.place)
        if key not in masks:
            masks[key] = np.flatnonzero(usable_on(view, device.place)).tolist()
        for number in masks[key]:
            result[number].append(device)
    return result
