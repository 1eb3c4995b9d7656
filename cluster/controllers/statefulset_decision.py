"""The pods of a StatefulSet: their identities, their order, and the next step to take. Pure.

As upstream's defaultStatefulSetControl: pods come up from the lowest ordinal, go down from the
highest, and are updated from the highest; one at a time unless they are managed in parallel.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.controllers import pods
from cluster.controllers.revisions import HASH
from cluster.machinery import intstr, meta

Object = dict[str, Any]

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)")


def ordinal_of(pod: Object, owner_name: str) -> int | None:
    """The number at the end of its name; None if it is not a name of this set."""
    match = _NAME.fullmatch(pod["metadata"]["name"])
    return int(match[2]) if match and match[1] == owner_name else None


def start_of(owner: Object) -> int:
    return int((owner["spec"].get("ordinals") or {}).get("start") or 0)


def ordinals(owner: Object) -> range:
    start = start_of(owner)
    return range(start, start + int(owner["spec"].get("replicas", 1)))


def is_parallel(owner: Object) -> bool:
    return bool(owner["spec"].get("podManagementPolicy") == "Parallel")


def revision_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH, ""))


def strategy(owner: Object) -> Object:
    found: Object = owner["spec"].get("updateStrategy") or {}
    return found


def partition(owner: Object) -> int:
    return int((strategy(owner).get("rollingUpdate") or {}).get("partition") or 0)


def uses_current(owner: Object, ordinal: int, replicas_of_current: int) -> bool:
    """Whether a pod that is made now has the revision before the update."""
    if strategy(owner).get("type", "RollingUpdate") != "RollingUpdate":
        return False
    rolling = strategy(owner).get("rollingUpdate")
    kept = replicas_of_current if rolling is None else partition(owner)
    return ordinal < start_of(owner) + kept


def is_healthy(pod: Object) -> bool:
    return pods.phase(pod) == "Running" and pods.is_ready(pod) and not pods.is_deleting(pod)


@dataclass
class Step:
    """Ordinals to create, and pods to delete, now."""

    create: list[int] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def step(owner: Object, by_ordinal: Mapping[int, Object], update: str, now_s: float) -> Step:
    """What to do next; nothing while something has to be waited for."""
    result = Step()
    one_by_one = not is_parallel(owner)
    wanted = ordinals(owner)
    for ordinal in wanted:
        waits = _bring_up(owner, by_ordinal.get(ordinal), ordinal, result, now_s)
        if waits and one_by_one:
            return result
    if _take_down(owner, by_ordinal, result, now_s) and one_by_one:
        return result
    if strategy(owner).get("type", "RollingUpdate") == "RollingUpdate":
        _replace(owner, by_ordinal, update, result, now_s)
    return result


def _bring_up(owner: Object, pod: Object | None, ordinal: int, result: Step, now_s: float) -> bool:
    """Whether the next ordinal has to wait for this one."""
    if pod is None:
        result.create.append(ordinal)
        return True
    if pods.is_terminated(pod):
        if not pods.is_deleting(pod):
            result.delete.append(pod)
        return True
    return not _is_available(owner, pod, now_s)


def _is_available(owner: Object, pod: Object, now_s: float) -> bool:
    min_ready_s = float(owner["spec"].get("minReadySeconds") or 0)
    return is_healthy(pod) and pods.is_available(pod, min_ready_s, now_s)


def _take_down(owner: Object, by_ordinal: Mapping[int, Object], result: Step, now_s: float) -> bool:
    """Remove pods beyond the replicas, the highest first. Whether there are any."""
    wanted = ordinals(owner)
    condemned = sorted((n for n in by_ordinal if n not in wanted), reverse=True)
    unhealthy = [n for n in sorted(by_ordinal) if not is_healthy(by_ordinal[n])]
    for number in condemned:
        pod = by_ordinal[number]
        if is_parallel(owner):
            result.delete += [] if pods.is_deleting(pod) else [pod]
            continue
        waits = pods.is_deleting(pod) or (
            not _is_available(owner, pod, now_s) and unhealthy[:1] != [number]
        )
        result.delete += [] if waits else [pod]
        return True
    return bool(condemned)


def _replace(
    owner: Object, by_ordinal: Mapping[int, Object], update: str, result: Step, now_s: float
) -> None:
    """From the highest ordinal down to the partition, at most maxUnavailable down at once."""
    wanted = ordinals(owner)
    present = {n: by_ordinal[n] for n in wanted if n in by_ordinal}
    limit = max_unavailable(owner)
    going = {pod["metadata"]["uid"] for pod in result.delete}
    down = sum(n not in present or not _is_available(owner, present[n], now_s) for n in wanted)
    for ordinal in reversed(wanted[partition(owner) :]):
        pod = present.get(ordinal)
        available = pod is not None and _is_available(owner, pod, now_s)
        old = pod is not None and revision_of(pod) != update and not pods.is_deleting(pod)
        if pod is not None and old and pod["metadata"]["uid"] not in going:
            # A pod that is down already costs nothing; one at a time asks only those above.
            if limit > 1 and available and down >= limit:
                return
            result.delete.append(pod)
            down += available
        if limit == 1 and (old or not available):
            return


def max_unavailable(owner: Object) -> int:
    given = (strategy(owner).get("rollingUpdate") or {}).get("maxUnavailable", 1)
    return max(1, intstr.resolve(given, len(ordinals(owner)), False))


def identity(owner: Object, ordinal: int, revision: str) -> Object:
    """The template with this pod's name, host name, labels and volumes of its own."""
    name = f"{owner['metadata']['name']}-{ordinal}"
    template: Object = copy.deepcopy(owner["spec"]["template"])
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels |= {POD_NAME: name, POD_INDEX: str(ordinal), HASH: revision}
    spec = template.setdefault("spec", {})
    spec["hostname"] = name
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    own = [
        {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}}
        for claim in claim_names(owner)
    ]
    others = [v for v in spec.get("volumes") or () if v["name"] not in claim_names(owner)]
    if own or others:
        spec["volumes"] = own + others
    return template


def claim_names(owner: Object) -> list[str]:
    return [each["metadata"]["name"] for each in owner["spec"].get("volumeClaimTemplates") or ()]


def claims(owner: Object, ordinal: int) -> list[Object]:
    """The PersistentVolumeClaims of that ordinal."""
    found = []
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        claim = copy.deepcopy(template)
        metadata = claim["metadata"]
        metadata["name"] = f"{metadata['name']}-{owner['metadata']['name']}-{ordinal}"
        metadata["namespace"] = owner["metadata"]["namespace"]
        selected = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
        metadata["labels"] = {**(metadata.get("labels") or {}), **selected}
        claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        claim.pop("status", None)
        found.append(claim)
    return found


def claim_owner(owner: Object, ordinal: int, pod: Object | None) -> Object | None:
    """Whose deletion takes the claim along, by persistentVolumeClaimRetentionPolicy."""
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    condemned = ordinal not in ordinals(owner)
    if condemned and policy.get("whenScaled") == "Delete":
        return pod
    return owner if policy.get("whenDeleted") == "Delete" else None


def status_of(
    owner: Object, by_ordinal: Mapping[int, Object], current: str, update: str, now_s: float
) -> Object:
    """Counters of revisions leave pods out that are being deleted."""
    old = owner.get("status") or {}
    every = list(by_ordinal.values())
    staying = [pod for pod in every if not pods.is_deleting(pod)]
    ready = [p for p in every if pods.phase(p) == "Running" and pods.is_ready(p)]
    min_ready_s = float(owner["spec"].get("minReadySeconds") or 0)
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": sum(revision_of(pod) == current for pod in staying),
        "updatedReplicas": sum(revision_of(pod) == update for pod in staying),
    }
    available = sum(pods.is_available(pod, min_ready_s, now_s) for pod in ready)
    rolling = strategy(owner).get("type", "RollingUpdate") == "RollingUpdate"
    if rolling and counts["updatedReplicas"] == counts["readyReplicas"] == len(every):
        current = update
        counts["currentReplicas"] = counts["updatedReplicas"]
    status: Object = {
        "observedGeneration": owner["metadata"].get("generation", 0),
        "replicas": len(every),
        "availableReplicas": available,
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": int(old.get("collisionCount") or 0),
    }
    status |= {name: count for name, count in counts.items() if count}
    if "conditions" in old:
        status["conditions"] = old["conditions"]
    return status


def available_in_s(owner: Object, every: Sequence[Object], now_s: float) -> float | None:
    """When to look again for pods that only have to stay ready for a while."""
    min_ready_s = float(owner["spec"].get("minReadySeconds") or 0)
    waits = [pods.available_in_s(pod, min_ready_s, now_s) for pod in every]
    return min((wait for wait in waits if wait is not None), default=None)


def has_owner(claim: Object, wanted: Object | None) -> bool:
    """Whether exactly the right one of set and pod owns the claim."""
    kinds = {"StatefulSet", "Pod"}
    uids = {
        reference["uid"]
        for reference in claim["metadata"].get("ownerReferences") or ()
        if reference["kind"] in kinds
    }
    return uids == ({wanted["metadata"]["uid"]} if wanted else set())


def with_owner(claim: Object, wanted: Object | None) -> list[Object]:
    """The claim's owner references with that of set or pod brought up to date."""
    kinds = {"StatefulSet", "Pod"}
    present = claim["metadata"].get("ownerReferences") or []
    others = [reference for reference in present if reference["kind"] not in kinds]
    return [*others, *([meta.owner_reference(wanted)] if wanted else [])]
