"""At the end, when nothing fails any more: everything is as asked for, and nobody writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import meta, selectors
from cluster.simulation.checks.daemonsets import node_of
from cluster.simulation.checks.history import History, is_going, is_ready, replicas
from cluster.simulation.checks.ownership import orphans

Object = dict[str, Any]


def unsettled(history: History) -> list[str]:
    """What is not yet as it should be."""
    found: list[str] = []
    for key, obj in list(history.objects.items()):
        if is_going(obj):
            found.append(f"{key} is still being deleted")
        elif rule := _RULES.get(obj.get("kind", "")):
            found += [f"{key}: {text}" for text in rule(obj, history)]
    return [*found, *orphans(history)]


def _count(obj: Object, name: str) -> int:
    return int((obj.get("status") or {}).get(name) or 0)


def _differs(obj: Object, wanted: dict[str, int]) -> Iterator[str]:
    for name, value in wanted.items():
        if _count(obj, name) != value:
            yield f"{name} is {_count(obj, name)}, not {value}"


def _ready_of(obj: Object, history: History) -> int:
    return sum(map(is_ready, history.of(obj["metadata"]["uid"], "Pod")))


def _deployment(obj: Object, history: History) -> Iterator[str]:
    total, generation = replicas(obj["spec"]), obj["metadata"]["generation"]
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    yield from _differs(obj, {"observedGeneration": generation, **dict.fromkeys(names, total)})
    sets = history.of(obj["metadata"]["uid"], "ReplicaSet")
    ready = sum(_ready_of(each, history) for each in sets)
    if ready != total:
        yield f"{ready} pods are ready, not {total}"


def _replica_set(obj: Object, history: History) -> Iterator[str]:
    total = replicas(obj["spec"])
    yield from _differs(obj, {"replicas": total, "readyReplicas": total})
    if _ready_of(obj, history) != total:
        yield f"{_ready_of(obj, history)} pods are ready, not {total}"


def _stateful_set(obj: Object, history: History) -> Iterator[str]:
    total = replicas(obj["spec"])
    yield from _differs(obj, {"replicas": total, "readyReplicas": total})
    if _ready_of(obj, history) != total:
        yield f"{_ready_of(obj, history)} pods are ready, not {total}"


def _daemon_set(obj: Object, history: History) -> Iterator[str]:
    nodes = len(history.kinds("Node"))
    names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable")
    yield from _differs(obj, dict.fromkeys(names, nodes))
    pods = history.of(obj["metadata"]["uid"], "Pod")
    if len({node_of(p) for p in pods if is_ready(p)}) != nodes or len(pods) != nodes:
        yield f"{len(pods)} pods for {nodes} nodes"


def _job(obj: Object, history: History) -> Iterator[str]:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ended = any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
    if not ended and not obj["spec"].get("suspend"):
        yield "has not ended"
    if ended:
        yield from _differs(obj, {"active": 0, "terminating": 0})


def _budget(obj: Object, history: History) -> Iterator[str]:
    selector = selectors.from_object(obj["spec"].get("selector"))
    pods = [p for p in history.kinds("Pod") if meta.namespace(p) == meta.namespace(obj)]
    healthy = sum(selector.matches(p["metadata"].get("labels")) and is_ready(p) for p in pods)
    yield from _differs(obj, {"currentHealthy": healthy})


def _service(obj: Object, history: History) -> Iterator[str]:
    """The ready addresses of its slices are its ready pods."""
    selector = obj["spec"].get("selector")
    if not selector:
        return
    space, name = meta.namespace(obj), obj["metadata"]["name"]
    pods = [p for p in history.kinds("Pod") if meta.namespace(p) == space and is_ready(p)]
    labels = selectors.from_labels(selector)
    wanted = {p["metadata"]["name"] for p in pods if labels.matches(p["metadata"].get("labels"))}
    told: set[str] = set()
    for each in history.kinds("EndpointSlice"):
        given = each["metadata"].get("labels") or {}
        if meta.namespace(each) == space and given.get("kubernetes.io/service-name") == name:
            ready = [e for e in each.get("endpoints") or () if e["conditions"].get("ready")]
            told |= {e["targetRef"]["name"] for e in ready}
    if told != wanted:
        yield f"endpoints are {sorted(told)}, ready pods {sorted(wanted)}"


def _node(obj: Object, history: History) -> Iterator[str]:
    if not is_ready_node(obj) or (obj.get("spec") or {}).get("taints"):
        yield "is not ready"


def is_ready_node(obj: Object) -> bool:
    return meta.condition_is(obj, "Ready")


def _pod(obj: Object, history: History) -> Iterator[str]:
    phase = (obj.get("status") or {}).get("phase")
    if phase not in ("Running", "Succeeded", "Failed"):
        yield f"is {phase}"
    if node_of(obj) and f"nodes/{node_of(obj)}" not in history.objects:
        yield "is on a node that is gone"


_RULES = {
    "Deployment": _deployment, "ReplicaSet": _replica_set, "ReplicationController": _replica_set,
    "StatefulSet": _stateful_set, "DaemonSet": _daemon_set, "Job": _job, "Service": _service,
    "PodDisruptionBudget": _budget, "Node": _node, "Pod": _pod,
}  # fmt: skip
