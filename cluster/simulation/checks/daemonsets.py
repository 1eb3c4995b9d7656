"""DaemonSets: one pod on a node (two while it surges), and updates that keep to maxUnavailable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import intstr, meta
from cluster.simulation.checks import losses
from cluster.simulation.checks.history import Change, History, is_active, is_going, is_ready

Object = dict[str, Any]


def node_of(pod: Object) -> str:
    """Where it is, or is meant for."""
    if node := pod["spec"].get("nodeName"):
        return str(node)
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            return str(field["values"][0])
    return ""


def check(change: Change, history: History) -> Iterator[str]:
    if change.kind != "Pod":
        return
    reference = meta.controller_of(change.obj)
    if reference is None or reference["kind"] != "DaemonSet":
        return
    owner = history.by_uid.get(reference["uid"])
    if owner is None:
        yield f"{change.key} was created for an owner that never was"
    elif change.old is None:
        yield from _created(change, owner, history)
    elif losses.taken_by_controller(change, history):
        yield from _taken(change, owner, history)


def _rolling(spec: Object, name: str, default: Any) -> Any:
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    return rolling.get(name, default)


def _created(change: Change, owner: Object, history: History) -> Iterator[str]:
    node, specs = node_of(change.obj), history.recent_specs(owner, change.now_s)
    pods = history.of(owner["metadata"]["uid"], "Pod")
    here = sum(is_active(pod) and node_of(pod) == node for pod in pods)
    surges = any(_rolling(spec, "maxSurge", 0) not in (0, "0%") for spec in specs)
    if here > (2 if surges else 1):
        yield f"{change.key} is pod {here} of {owner['metadata']['name']} on {node}"


def _taken(change: Change, owner: Object, history: History) -> Iterator[str]:
    node = history.objects.get(f"nodes/{node_of(change.obj)}")
    if history.alive(owner["metadata"]["uid"]) is None or is_going(owner) or not _serves(node):
        return
    uid, nodes = owner["metadata"]["uid"], history.kinds("Node")
    pods = history.of(uid, "Pod")
    served = {node_of(p) for p in pods if is_ready(p)}
    if node_of(change.obj) in served:
        return  # Its successor is ready beside it.
    up = len(served)
    specs = history.recent_specs(owner, change.now_s)
    down = max(
        intstr.resolve(_rolling(spec, "maxUnavailable", 1), len(nodes), True) for spec in specs
    )
    lost = history.losses(uid, change.now_s)
    if up + lost + down < sum(map(_serves, nodes)):
        yield f"{change.key} is taken: {up} of {len(nodes)} nodes served (+{lost} lost)"


def _serves(node: Object | None) -> bool:
    """A node that is in no trouble (where it is, pods go by themselves)."""
    return node is not None and not (node.get("spec") or {}).get("taints")
