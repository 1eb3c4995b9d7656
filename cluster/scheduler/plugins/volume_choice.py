"""Which volumes a pod's unbound claims would get on each node. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.machinery import meta, quantity, selectors
from cluster.machinery.volume_matching import class_of, fits, is_bound_to, size_of
from cluster.scheduler.columns import Mask, View
from cluster.scheduler.columns.catalog import Catalog
from cluster.scheduler.plugins.claims import (
    CLASSES,
    NO_PROVISIONER,
    SELECTED_NODE,
    VOLUMES,
    marks_of,
    reachable,
)
from cluster.scheduler.plugins.node_selector import expression_holds, has_labels

Object = dict[str, Any]
CAPACITIES, DRIVERS = "csistoragecapacities.storage.k8s.io", "csidrivers.storage.k8s.io"


@dataclass
class Choice:
    """By claim, per node the index into `volumes` of the one it gets, -1: it is to be made.

    `unbound`: nodes where a claim finds no volume and none can be made; `full`: none of this size.
    """

    unbound: Mask
    full: Mask
    volumes: list[Object] = field(default_factory=list)
    chosen: list[tuple[Object, NDArray[np.int64]]] = field(default_factory=list)


def choose(view: View, claims: Sequence[Object]) -> Choice:
    """Smaller claims choose first, the smallest volume that fits, as upstream."""
    catalog = view.columns.catalog
    choice = Choice(view.none(), view.none())
    choice.volumes = sorted(catalog.list(VOLUMES), key=lambda v: (size_of(v), meta.name(v)))
    for claim in sorted(claims, key=_asked):
        pinned = marks_of(claim).get(SELECTED_NODE)
        if pinned:
            choice.unbound |= ~view.named([pinned])
            found = np.full(len(view), -1, np.int64)
        else:
            found = _match(view, claim, choice)
        choice.chosen.append((claim, found))
        _provision(view, claim, found < 0, choice)
    return choice


def _asked(claim: Object) -> int:
    requests = (claim["spec"].get("resources") or {}).get("requests") or {}
    return quantity.parse(requests.get("storage", "0"))


def _match(view: View, claim: Object, choice: Choice) -> NDArray[np.int64]:
    found = np.full(len(view), -1, np.int64)
    given = claim["spec"].get("selector")
    selector = selectors.from_object(given) if given else selectors.EVERYTHING
    for number, volume in enumerate(choice.volumes):
        if not fits(volume, claim) or not _free(volume, claim, selector):
            continue
        free = (found < 0) & reachable(view, volume)
        for _, others in choice.chosen:
            free &= others != number
        found[free] = number
        if (found >= 0).all():
            break
    return found


def _free(volume: Object, claim: Object, selector: selectors.LabelSelector) -> bool:
    if volume["spec"].get("claimRef"):
        return is_bound_to(volume, claim)
    phase = (volume.get("status") or {}).get("phase")
    available = phase in (None, "Pending", "Available")
    return available and selector.matches(volume["metadata"].get("labels"))


def _provision(view: View, claim: Object, nodes: Mask, choice: Choice) -> None:
    """Whether a volume can be made on these nodes, where the claim finds none."""
    if not nodes.any():
        return
    catalog = view.columns.catalog
    storage_class = catalog.get(CLASSES, class_of(claim)) or {}
    provisioner = storage_class.get("provisioner") or NO_PROVISIONER
    if provisioner == NO_PROVISIONER:
        choice.unbound |= nodes
        return
    allowed = _allowed(view, storage_class.get("allowedTopologies") or ())
    choice.unbound |= nodes & ~allowed
    driver = catalog.get(DRIVERS, provisioner)
    if driver is not None and (driver.get("spec") or {}).get("storageCapacity"):
        choice.full |= nodes & allowed & ~_has_capacity(view, catalog, storage_class, _asked(claim))


def _allowed(view: View, topologies: Sequence[Object]) -> Mask:
    if not topologies:
        return view.all()
    result = view.none()
    for topology in topologies:
        holds = view.all()
        for expression in topology.get("matchLabelExpressions") or ():
            holds &= view.label_in(expression["key"], expression["values"])
        result |= holds
    return result


def _has_capacity(view: View, catalog: Catalog, storage_class: Object, size: int) -> Mask:
    result = view.none()
    for capacity in catalog.list(CAPACITIES):
        most = capacity.get("maximumVolumeSize") or capacity.get("capacity") or "0"
        topology = capacity.get("nodeTopology")
        if capacity["storageClassName"] != meta.name(storage_class) or topology is None:
            continue
        if quantity.parse(most) >= size:
            holds = has_labels(view, topology.get("matchLabels"))
            for expression in topology.get("matchExpressions") or ():
                holds &= expression_holds(view, expression)
            result |= holds
    return result
