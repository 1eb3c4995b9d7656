"""Nodes and pods as a scheduler's tests write them, and columns made of them."""

from __future__ import annotations

from cluster.scheduler.columns import Columns
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.profiles import default_profile

GI = 1024**3
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def node(name, *, cpu=4000, memory=8 * GI, pods=10, labels=None, taints=(), cordoned=False, gpu=0):
    allocatable = {"cpu": f"{cpu}m", "memory": str(memory), "pods": str(pods)}
    if gpu:
        allocatable["example.com/gpu"] = str(gpu)
    spec = {"taints": list(taints)}
    if cordoned:
        spec["unschedulable"] = True
    metadata = {"name": name, "labels": {HOST: name} if labels is None else labels}
    return {"metadata": metadata, "spec": spec, "status": {"allocatable": allocatable}}


def pod(name="p", requests=None, port=None, labels=None, namespace="ns", **spec):
    container = {"name": "c", "image": "i", "resources": {"requests": requests or {}}}
    if port:
        container["ports"] = [{"containerPort": 80, "hostPort": port[1], "hostIP": port[0]}]
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels or {}}
    return {"metadata": metadata, "spec": {"containers": [container], **spec}, "status": {}}


def term(app, key=ZONE, **more):
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **more}


def columns_of(nodes, placed=(), namespaces=(), **catalog):
    """`placed`: (node name, pod); `catalog`: objects by resource, dots as "__"."""
    columns = Columns()
    for name, labels in dict(namespaces).items():
        columns.census.set_namespace(name, labels)
    for item in nodes:
        columns.put_node(item)
    for where, item in placed:
        columns.put_pod(where, PodInfo.of(item))
    for resource, objects in catalog.items():
        for obj in objects:
            columns.catalog.put(resource.replace("__", "."), obj)
    return columns


def cycle_of(nodes, placed=(), profile=None, **more):
    return Cycle(columns_of(nodes, placed, **more), profile or default_profile())


def decide(nodes, item, placed=(), profile=None, **more):
    return cycle_of(nodes, placed, profile, **more).decide(PodInfo.of(item))


def best_nodes(nodes, item, placed=(), profile=None, **more):
    """Every node that the scheduler could choose."""
    cycle, found = cycle_of(nodes, placed, profile, **more), set()
    info = PodInfo.of(item)
    for number in range(len(nodes)):
        cycle.choose = lambda count, number=number: number % count
        found.add(cycle.decide(info).node)
    return found


def feasible_nodes(nodes, item, placed=(), profile=None, **more):
    """Every node on which the pod fits."""
    cycle = cycle_of(nodes, placed, profile, **more)
    feasible, _, refused = cycle.feasible(PodInfo.of(item))
    return (
        set()
        if refused
        else {n for n, fits in zip(cycle.columns.names, feasible, strict=True) if fits}
    )
