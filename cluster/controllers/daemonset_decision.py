"""Which nodes a DaemonSet's pods belong on, and which pods an update replaces. Pure.

As upstream's podsShouldBeOnNode and rollingUpdate.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.controllers import node_matching, pods, taints
from cluster.controllers.revisions import HASH
from cluster.machinery import intstr, meta

Object = dict[str, Any]

GENERATION = "deprecated.daemonset.template.generation"
_NO_SCHEDULE = ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")


@dataclass
class Plan:
    """Nodes that need a pod, and pods to remove."""

    create: list[str] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def tolerations(spec: Object) -> list[Object]:
    """The template's, and those that every daemon pod has."""
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute"}
        for key in (taints.NOT_READY, taints.UNREACHABLE)
    ]
    names = [*_NO_SCHEDULE, *(["network-unavailable"] if spec.get("hostNetwork") else [])]
    added += [
        {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": "NoSchedule"}
        for name in names
    ]
    given = spec.get("tolerations") or []
    return [*given, *(each for each in added if each not in given)]


def should_run(owner: Object, node: Object) -> tuple[bool, bool]:
    """Whether a pod is to be made on the node, and whether one that is there may stay."""
    spec = owner["spec"]["template"].get("spec") or {}
    if spec.get("nodeName") not in (None, "", node["metadata"]["name"]):
        return False, False
    if not node_matching.fits_affinity(spec, node):
        return False, False
    tolerated = tolerations(spec)
    if node_matching.untolerated(tolerated, node, ("NoSchedule", "NoExecute")):
        return False, not node_matching.untolerated(tolerated, node, ("NoExecute",))
    return True, True


def template_for(owner: Object, node: str, digest: str) -> Object:
    """The pod template with the node in its affinity: the scheduler binds it there."""
    template: Object = copy.deepcopy(owner["spec"]["template"])
    spec = template.setdefault("spec", {})
    spec["tolerations"] = tolerations(spec)
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    name = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = [{"matchFields": [name]}]
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[HASH] = digest
    if generation := (owner["metadata"].get("annotations") or {}).get(GENERATION):
        labels["pod-template-generation"] = generation
    return template


def node_of(pod: Object) -> str:
    """The node it runs on, or is meant for."""
    if bound := pods.node_name(pod):
        return bound
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity")) or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for each in term.get("matchFields") or ():
            if each["key"] == "metadata.name" and each["operator"] == "In":
                return str(each["values"][0])
    return ""


def is_updated(pod: Object, digest: str) -> bool:
    return (pod["metadata"].get("labels") or {}).get(HASH) == digest


def limits(owner: Object, desired: int) -> tuple[int, int]:
    """maxSurge and maxUnavailable, both rounded up; not both 0."""
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    surge = intstr.resolve(rolling.get("maxSurge", 0), desired, True)
    unavailable = intstr.resolve(rolling.get("maxUnavailable", 1), desired, True)
    return surge, (1 if surge == 0 and unavailable == 0 else unavailable)


def placement(
    owner: Object,
    nodes: Sequence[Object],
    by_node: Mapping[str, Sequence[Object]],
    digest: str,
    now_s: float,
) -> Plan:
    """One pod (two while surging) on each node that should run one, none elsewhere."""
    plan = Plan()
    surges = limits(owner, len(nodes))[0] > 0
    for node in nodes:
        here = by_node.get(node["metadata"]["name"], ())
        run, stay = should_run(owner, node)
        if run and not here:
            plan.create.append(node["metadata"]["name"])
        elif stay:
            plan.delete += _surplus(owner, here, digest, surges, now_s)
        else:
            plan.delete += [pod for pod in here if not pods.is_deleting(pod)]
    known = {node["metadata"]["name"] for node in nodes}
    for name, stray in by_node.items():
        plan.delete += [p for p in stray if name not in known and not pods.node_name(p)]
    return plan


def _surplus(
    owner: Object, here: Sequence[Object], digest: str, surges: bool, now_s: float
) -> list[Object]:
    present = [pod for pod in here if not pods.is_deleting(pod)]
    ended = [pod for pod in present if pods.is_terminated(pod)]
    running = sorted((p for p in present if not pods.is_terminated(p)), key=_age)
    if not surges:
        return ended + running[1:]
    new = [pod for pod in running if is_updated(pod, digest)]
    old = [pod for pod in running if not is_updated(pod, digest)]
    replaced = bool(new and old) and (not pods.is_ready(old[0]) or _available(owner, new[0], now_s))
    return ended + new[1:] + (old if replaced else old[1:])


def update(
    owner: Object,
    nodes: Sequence[Object],
    by_node: Mapping[str, Sequence[Object]],
    digest: str,
    now_s: float,
) -> Plan:
    """What the rolling update does next within its limits."""
    wanted = [n["metadata"]["name"] for n in nodes if should_run(owner, n)[0]]
    surge, unavailable = limits(owner, len(wanted))
    pairs = {name: _pair(by_node.get(name, ()), digest) for name in wanted}
    if surge:
        return _surging(owner, pairs, surge, now_s)
    return _replacing(owner, pairs, unavailable, now_s)


Pair = tuple[Object | None, Object | None]


def _pair(here: Sequence[Object], digest: str) -> Pair | None:
    """(new pod, old pod); None where there are too many, which placement puts right."""
    present = [pod for pod in here if not pods.is_deleting(pod)]
    new = [pod for pod in present if is_updated(pod, digest)]
    old = [pod for pod in present if not is_updated(pod, digest)]
    if len(new) > 1 or len(old) > 1:
        return None
    return (new[0] if new else None), (old[0] if old else None)


def _replacing(owner: Object, pairs: Mapping[str, Pair | None], limit: int, now_s: float) -> Plan:
    down, broken, candidates = 0, [], []
    for pair in pairs.values():
        new, old = pair or (None, None)
        if new is not None and old is None:
            down += not _available(owner, new, now_s)
        elif old is None or new is not None:
            down += 1
        elif not _available(owner, old, now_s):
            down += 1
            broken.append(old)
        else:
            candidates.append(old)
    return Plan(delete=broken + candidates[: max(0, limit - down)])


def _surging(owner: Object, pairs: Mapping[str, Pair | None], limit: int, now_s: float) -> Plan:
    plan, surging, candidates = Plan(), 0, []
    for name, pair in pairs.items():
        if pair is None:
            surging += 1
            continue
        new, old = pair
        if old is None:
            continue
        if new is None and not _available(owner, old, now_s):
            plan.create.append(name)
        elif new is None:
            candidates.append(name)
        elif not _available(owner, old, now_s) or _available(owner, new, now_s):
            plan.delete.append(old)
        else:
            surging += 1
    plan.create += candidates[: max(0, limit - surging)]
    return plan


def status_of(
    owner: Object,
    nodes: Sequence[Object],
    by_node: Mapping[str, Sequence[Object]],
    digest: str,
    now_s: float,
) -> Object:
    """As upstream's updateDaemonSetStatus: the oldest pod of each node speaks for it."""
    counts = dict.fromkeys(
        ("current", "misscheduled", "desired", "ready", "available", "updated"), 0
    )
    for node in nodes:
        here = sorted(by_node.get(node["metadata"]["name"], ()), key=_age)
        if not should_run(owner, node)[0]:
            counts["misscheduled"] += bool(here)
            continue
        counts["desired"] += 1
        counts["current"] += bool(here)
        counts["ready"] += bool(here) and pods.is_ready(here[0])
        counts["available"] += bool(here) and _available(owner, here[0], now_s)
        counts["updated"] += bool(here) and is_updated(here[0], digest)
    down = counts["desired"] - counts["available"]
    optional = {
        "updatedNumberScheduled": counts["updated"],
        "numberAvailable": counts["available"],
        "numberUnavailable": down,
    }
    return {
        "currentNumberScheduled": counts["current"],
        "numberMisscheduled": counts["misscheduled"],
        "desiredNumberScheduled": counts["desired"],
        "numberReady": counts["ready"],
        "observedGeneration": owner["metadata"].get("generation", 0),
        **{name: value for name, value in optional.items() if value},
    }


def _available(owner: Object, pod: Object, now_s: float) -> bool:
    return pods.is_available(pod, float(owner["spec"].get("minReadySeconds") or 0), now_s)


def _age(pod: Object) -> tuple[bool, float, str]:
    """Pods that run before pods that wait for a node, then the oldest first."""
    metadata = pod["metadata"]
    created_s = meta.parse_time(metadata["creationTimestamp"])
    return not pods.node_name(pod), created_s, metadata["name"]
