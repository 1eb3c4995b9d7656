"""A pod's ResourceClaims: which they are, whether it may use them, and as they will be. Pure."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.machinery import quantity
from cluster.scheduler.columns.catalog import Catalog
from cluster.scheduler.devices.allocation import Picked
from cluster.scheduler.devices.pools import Amounts, Identity
from cluster.scheduler.model.pod_info import PodInfo

Object = dict[str, Any]
CLAIMS = "resourceclaims.resource.k8s.io"
CLASSES = "deviceclasses.resource.k8s.io"
SLICES = "resourceslices.resource.k8s.io"
MOST_USERS = 256
FINALIZER = "resource.kubernetes.io/delete-protection"


def names(pod: PodInfo) -> Iterable[str]:
    """Of the claims; "" for one that has not been made yet from its template."""
    statuses = (pod.pod.get("status") or {}).get("resourceClaimStatuses") or ()
    made = {entry["name"]: entry.get("resourceClaimName") for entry in statuses}
    for entry in pod.spec.get("resourceClaims") or ():
        name = entry["name"]
        if entry.get("resourceClaimName"):
            yield entry["resourceClaimName"]
        elif name not in made:
            yield ""
        elif made[name]:  # Otherwise its template says that no claim is needed.
            yield made[name] or ""


def claims_of(pod: PodInfo, catalog: Catalog) -> list[Object]:
    """Those that exist."""
    found = (catalog.get(CLAIMS, f"{pod.namespace}/{claim}") for claim in names(pod) if claim)
    return [claim for claim in found if claim is not None]


def missing(pod: PodInfo, catalog: Catalog) -> str:
    """Why the pod has to wait for a claim; "" if it has all of them."""
    for claim in names(pod):
        if not claim:
            return f'pod "{pod.key}": ResourceClaim not created yet'
        found = catalog.get(CLAIMS, f"{pod.namespace}/{claim}")
        if found is None:
            return f'resourceclaim "{claim}" not found'
        if found["metadata"].get("deletionTimestamp"):
            return f'resourceclaim "{claim}" is being deleted'
    return ""


def allocation(claim: Object) -> Object | None:
    return (claim.get("status") or {}).get("allocation")


def may_use(pod: PodInfo, claim: Object) -> bool:
    users = (claim.get("status") or {}).get("reservedFor") or ()
    return any(user.get("uid") == pod.uid for user in users) or len(users) < MOST_USERS


def taken(catalog: Catalog) -> Iterable[tuple[Identity, Amounts]]:
    """Devices that are allocated to claims, each with the capacity that is the claim's alone;
    without those given for administration."""
    for claim in catalog.list(CLAIMS):
        for each in ((allocation(claim) or {}).get("devices") or {}).get("results") or ():
            if not each.get("adminAccess"):
                consumed = (each.get("consumedCapacity") or {}).items()
                amounts = {name: quantity.parse(value) for name, value in consumed}
                yield (each["driver"], each["pool"], each["device"]), amounts


def allocated(claim: Object, number: int, picked: Sequence[Picked], node: str) -> Object:
    """The claim with devices. `number`: which of the picked ones are its."""
    mine = [each for each in picked if each.claim == number]
    results = []
    for each in mine:
        driver, pool, device = each.device.identity
        result = {"request": each.request, "driver": driver, "pool": pool, "device": device}
        results.append(result | ({"adminAccess": True} if each.admin else {}))
        if each.device.shareable and not each.admin:
            results[-1] |= _share(claim, len(results), each)
    new = copy.deepcopy(claim)
    given: Object = {"devices": {"results": results}}
    config = (claim["spec"].get("devices") or {}).get("config")
    if config:
        given["devices"]["config"] = [{"source": "FromClaim", **entry} for entry in config]
    if selector := _selector(mine, node):
        given["nodeSelector"] = selector
    new["status"] = {**(claim.get("status") or {}), "allocation": given}
    return new


def _share(claim: Object, number: int, picked: Picked) -> Object:
    """`shareID` tells the users of a device apart; the claim's uid makes it unique."""
    capacity = picked.device.capacity
    consumed = {
        name: quantity.format(amount, binary=str(capacity[name]["value"]).endswith("i"))
        for name, amount in picked.share.items()
    }
    share_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{claim['metadata']['uid']}/{number}")
    return {"shareID": str(share_id), "consumedCapacity": consumed}


def _selector(picked: Sequence[Picked], node: str) -> Object | None:
    """Where the devices can be used; None for everywhere."""
    places = [each.device.place for each in picked]
    if any(place.get("nodeName") for place in places):
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        return {"nodeSelectorTerms": [{"matchFields": [field]}]}
    expressions = [
        expression
        for place in places
        for term in (place.get("nodeSelector") or {}).get("nodeSelectorTerms") or ()
        for expression in term.get("matchExpressions") or ()
    ]
    unique = [e for number, e in enumerate(expressions) if e not in expressions[:number]]
    return {"nodeSelectorTerms": [{"matchExpressions": unique}]} if unique else None


def reserved(claim: Object, pod: PodInfo) -> Object:
    """The claim with the pod among its users."""
    status = claim.get("status") or {}
    users = status.get("reservedFor") or []
    if any(user.get("uid") == pod.uid for user in users):
        return claim
    user = {"resource": "pods", "name": pod.name, "uid": pod.uid}
    return {**claim, "status": {**status, "reservedFor": [*users, user]}}
